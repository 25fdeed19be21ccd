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
MISSING(batch_norm_forward, (const float* x, const float* gamma, const float* beta, const float* residual, float epsilon, int64_t clip, float* y, float* mean, float* variance, float* rstd, int64_t rows, int64_t c))
MISSING(batch_norm_inference, (const float* x, const float* mean, const float* variance, const float* gamma, const float* beta, const float* residual, float epsilon, int64_t clip, float* y, int64_t rows, int64_t c))
MISSING(batch_norm_backward, (const float* x, const float* gy, const float* gamma, const float* beta, const float* mean, const float* rstd, int64_t clip, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c))
MISSING(fold_batch_norm, (const float* w, const float* bias, const float* mean, const float* variance, const float* gamma, const float* beta, float epsilon, float* wa, float* ba, int64_t rows, int64_t c))
MISSING(chain, (Chain chain, float* y, int64_t n))
MISSING(batch_norm_backward_inference, (const float* x, const float* gy, const float* gamma, const float* mean, const float* variance, float epsilon, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c))
MISSING(moving_average, (float* moving, const float* value, float momentum, float rest, int64_t n))
MISSING(layer_norm_forward, (const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean, float* rstd, int64_t rows, int64_t c))
MISSING(layer_norm_backward, (const float* x, const float* gy, const float* gamma, const float* mean, const float* rstd, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c))
MISSING(ceiling_fma, (float* y, int64_t chunks, int64_t steps))
MISSING(ceiling_copy, (const float* x, float* y, int64_t chunks, int64_t n, int64_t repeats))
MISSING(ceiling_triad, (const float* x, const float* z, float* y, int64_t chunks, int64_t n, int64_t repeats))
}  // namespace fastnn::cuda
