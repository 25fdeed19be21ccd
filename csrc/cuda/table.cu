// The kernel table of this target. A kernel that is missing does not link.
#include "kernels.h"

namespace fastnn::cuda {

extern const Kernels kernels;
const Kernels kernels = {
#define K(name, args) name,
#define K_CPU(name, args) nullptr,
#include "kernels.def"
#undef K
};

}  // namespace fastnn::cuda
