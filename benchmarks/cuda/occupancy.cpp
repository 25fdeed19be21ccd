// Theoretical occupancy by the toolkit's own calculator: for each line "architecture threads registers static
// dynamic" (bytes of shared memory of a block), the part of an SM's warps that such blocks fill.
#include <cuda_occupancy.h>

#include <cstdio>

int main() {
  int arch, threads, registers;
  size_t fixed, dynamic;
  while (std::scanf("%d %d %d %zu %zu", &arch, &threads, &registers, &fixed, &dynamic) == 5) {
    // What cudaGetDeviceProperties says of the data center's GPU of an architecture, and of the GeForce for 86 and 89.
    const bool small = arch == 86 || arch == 89;
    cudaOccDeviceProp p;
    p.computeMajor = arch / 10;
    p.computeMinor = arch % 10;
    p.maxThreadsPerBlock = 1024;
    p.maxThreadsPerMultiprocessor = small ? 1536 : 2048;
    p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = 32;
    p.sharedMemPerBlock = 48 * 1024;
    p.sharedMemPerMultiprocessor = (small ? 100 : arch == 80 ? 164 : 228) * 1024;
    p.reservedSharedMemPerBlock = 1024;
    p.sharedMemPerBlockOptin = p.sharedMemPerMultiprocessor - p.reservedSharedMemPerBlock;
    p.numSms = 1;
    cudaOccFuncAttributes f;
    f.maxThreadsPerBlock = 1024;
    f.numRegs = registers;
    f.sharedSizeBytes = fixed;
    f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    f.maxDynamicSharedSizeBytes = p.sharedMemPerBlockOptin - fixed;
    f.numBlockBarriers = 1;
    const cudaOccDeviceState state;
    cudaOccResult result;
    const cudaOccError error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &p, &f, &state, threads, dynamic);
    if (error) return std::fprintf(stderr, "cuda_occupancy.h: error %d for sm_%d\n", error, arch), 1;
    std::printf("%.3f\n", double(result.activeBlocksPerMultiprocessor) * ((threads + 31) / 32) / (p.maxThreadsPerMultiprocessor / 32));
  }
}
