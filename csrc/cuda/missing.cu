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
}  // namespace fastnn::cuda
