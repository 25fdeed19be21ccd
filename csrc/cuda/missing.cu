// Kernels that are still to be written; empty and deleted when this device is complete.
#include "cuda.h"
#include <stdexcept>
namespace fastnn::cuda {
#ifndef __CUDACC__
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif
#define MISSING(name, args) void name args { throw std::runtime_error("[cuda] no kernel yet: " #name); }
MISSING(lstm_forward, (RnnForward a))
MISSING(lstm_backward, (RnnBackward a))
MISSING(gru_forward, (RnnForward a))
MISSING(gru_backward, (RnnBackward a))
MISSING(simple_rnn_forward, (RnnForward a))
MISSING(simple_rnn_backward, (RnnBackward a))
MISSING(depthwise_conv2d_forward, (const float* x, const float* w, float* y, WindowShape s))
MISSING(depthwise_conv2d_backward_input, (const float* gy, const float* w, float* gx, WindowShape s))
MISSING(depthwise_conv2d_backward_weights, (const float* x, const float* gy, float* gw, WindowShape s))
MISSING(repeat_channels, (const float* x, float* y, int64_t rows, int64_t c, int64_t m))
MISSING(sum_channel_groups, (const float* y, float* x, int64_t rows, int64_t c, int64_t m))
MISSING(max_pool2d_forward, (const float* x, float* y, void* taps, int64_t tap_bytes, WindowShape s))
MISSING(max_pool2d_backward, (const float* gy, const void* taps, int64_t tap_bytes, float* gx, WindowShape s))
MISSING(max_pool2d_backward_relu, (const float* gy, const float* y, const void* taps, int64_t tap_bytes, float* gz, float* gb, WindowShape s))
MISSING(max_pool2d_take, (const float* x, const void* taps, int64_t tap_bytes, float* y, WindowShape s))
MISSING(average_pool2d_forward, (const float* x, float* y, WindowShape s))
MISSING(average_pool2d_backward, (const float* gy, float* gx, WindowShape s))
}  // namespace fastnn::cuda
