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
MISSING(random_key, (uint32_t* state, uint32_t* key))
MISSING(random_words, (const uint32_t* key, uint32_t* y, int64_t n))
MISSING(random_uniform, (const uint32_t* key, float* y, int64_t n, float low, float high))
MISSING(random_normal, (const uint32_t* key, float* y, int64_t n, float mean, float stddev))
MISSING(random_truncated_normal, (const uint32_t* key, float* y, int64_t n, float mean, float stddev))
MISSING(random_integers, (const uint32_t* key, int32_t* y, int64_t n, int64_t low, int64_t range))
MISSING(dropout, (const uint32_t* key, const float* x, float* y, int64_t n, float rate))
MISSING(sgd_update, (UpdateBatch batch, const float* lr, float momentum, int64_t nesterov, float weight_decay, float clipvalue))
MISSING(rmsprop_update, (UpdateBatch batch, const float* lr, float rho, float one_minus_rho, float momentum, float epsilon, float weight_decay, float clipvalue))
MISSING(adam_update, (UpdateBatch batch, const float* lr, const void* iterations, int64_t iterations_bytes, float beta1, float beta2, float one_minus_beta1, float one_minus_beta2, float epsilon, float weight_decay, float clipvalue))
MISSING(squared_norms, (UpdateBatch batch, float* y))
MISSING(clip_scales, (const float* squares, float* scale, int64_t n, float clipnorm, int64_t global))
MISSING(increment, (void* x, int64_t bytes))
MISSING(depthwise_conv2d_forward, (const float* x, const float* w, float* y, WindowShape s))
MISSING(depthwise_conv2d_backward_input, (const float* gy, const float* w, float* gx, WindowShape s))
MISSING(depthwise_conv2d_backward_weights, (const float* x, const float* gy, float* gw, WindowShape s))
MISSING(repeat_channels, (const float* x, float* y, int64_t rows, int64_t c, int64_t m))
MISSING(sum_channel_groups, (const float* y, float* x, int64_t rows, int64_t c, int64_t m))
MISSING(max_pool2d_forward, (const float* x, float* y, void* taps, int64_t tap_bytes, WindowShape s))
MISSING(max_pool2d_backward, (const float* gy, const void* taps, int64_t tap_bytes, float* gx, WindowShape s))
MISSING(max_pool2d_take, (const float* x, const void* taps, int64_t tap_bytes, float* y, WindowShape s))
MISSING(average_pool2d_forward, (const float* x, float* y, WindowShape s))
MISSING(average_pool2d_backward, (const float* gy, float* gx, WindowShape s))
MISSING(batch_norm_forward, (const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean, float* variance, float* rstd, int64_t rows, int64_t c))
MISSING(batch_norm_inference, (const float* x, const float* mean, const float* variance, const float* gamma, const float* beta, float epsilon, float* y, int64_t rows, int64_t c))
MISSING(batch_norm_backward, (const float* x, const float* gy, const float* gamma, const float* mean, const float* rstd, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c))
MISSING(batch_norm_backward_inference, (const float* x, const float* gy, const float* gamma, const float* mean, const float* variance, float epsilon, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c))
MISSING(moving_average, (float* moving, const float* value, float momentum, float rest, int64_t n))
MISSING(layer_norm_forward, (const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean, float* rstd, int64_t rows, int64_t c))
MISSING(layer_norm_backward, (const float* x, const float* gy, const float* gamma, const float* mean, const float* rstd, float* gx, float* ggamma, float* gbeta, int64_t rows, int64_t c))
MISSING(ceiling_fma, (float* y, int64_t chunks, int64_t steps))
MISSING(ceiling_copy, (const float* x, float* y, int64_t chunks, int64_t n, int64_t repeats))
MISSING(ceiling_triad, (const float* x, const float* z, float* y, int64_t chunks, int64_t n, int64_t repeats))
}  // namespace fastnn::cuda
