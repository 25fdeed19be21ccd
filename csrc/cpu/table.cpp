// The kernel table of this target.
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {

const Kernels kernels = {
#define K(name, args) name,
#include "kernels.def"
#undef K
};

}  // namespace fastnn::FASTNN_TARGET
