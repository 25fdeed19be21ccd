// What runtime.cu fills in: the device as _core sees it.
#pragma once
#include "device.h"

#if defined(_WIN32)
#define FASTNN_EXPORT extern "C" __declspec(dllexport)
#else
#define FASTNN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace fastnn::cuda {
extern const Kernels kernels;
void set_matmul_precision(int64_t precision);  // precision.cu
}

// The library itself, or null and why this machine cannot use it.
FASTNN_EXPORT const fastnn::DeviceLibrary* fastnn_device_library(const char** why);
