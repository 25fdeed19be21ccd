// The thread pool behind parallel_for (cpu/parallel.h).
#pragma once

namespace fastnn {

// The number of threads a kernel may use, the caller included. The first call reads
// FASTNN_NUM_THREADS, OMP_NUM_THREADS, the container's CPU quota and the affinity mask.
int num_threads();
// Takes effect at the next kernel. n >= 1.
void set_num_threads(int n);

}  // namespace fastnn
