// Whether kernels may use the tile unit (cpu/tiles.h).
#pragma once

namespace fastnn {
#pragma GCC visibility push(hidden)
// This CPU has it, the system lets us use it, and FASTNN_ISA is not set to less.
bool has_tiles();
#pragma GCC visibility pop
}  // namespace fastnn
