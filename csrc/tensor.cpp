#include "tensor.h"

#include <cstring>
#include <new>
#include <ostream>

#include "check.h"
#include "device.h"
#include "memory.h"
#include "record.h"

namespace fastnn {
namespace {

struct DTypeInfo {
  const char* name;
  int64_t itemsize;
};
constexpr DTypeInfo kInfo[kDTypes] = {
    {"bool", 1},   {"int8", 1},   {"int16", 2},  {"int32", 4},   {"int64", 8},    {"uint8", 1},   {"uint16", 2},
    {"uint32", 4}, {"uint64", 8}, {"float16", 2}, {"bfloat16", 2}, {"float32", 4}, {"float64", 8},
};

// The header of a block of our own; the data follow, 64-byte aligned.
constexpr int64_t kHeader = 64;
static_assert(sizeof(Storage) <= kHeader);

// 2^48 elements: far above any memory, far below where sums of sizes overflow.
constexpr int64_t kMaxElements = int64_t(1) << 48;

}  // namespace

int64_t itemsize(DType dtype) { return kInfo[int(dtype)].itemsize; }
const char* dtype_name(DType dtype) { return kInfo[int(dtype)].name; }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << dtype_name(dtype); }

Shape::Shape(const int64_t* sizes, int rank) : rank_(rank) {
  check(rank >= 0 && rank <= kMaxRank, "[shape] a tensor must have at most ", kMaxRank,
        " dimensions. Received: ndim=", rank);
  for (int i = 0; i < rank; ++i) {
    check(sizes[i] >= 0, "[shape] sizes must not be negative. Received: shape[", i, "]=", sizes[i]);
    sizes_[i] = sizes[i];
  }
}

void Shape::push_back(int64_t size) {
  check(rank_ < kMaxRank, "[shape] a tensor must have at most ", kMaxRank, " dimensions. Received: ndim=", rank_ + 1);
  sizes_[rank_++] = size;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << (shape.rank() == 1 ? ",)" : ")");
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t product;
  check(!__builtin_mul_overflow(a, b, &product), "[shape] a size must fit 63 bits. Received: ", a, " * ", b);
  return product;
}

Tensor::Tensor(const Shape& shape, DType dtype, Device device) : shape_(shape), dtype_(dtype), device_(device) {
  int64_t n = 1;
  bool empty = false;
  for (int64_t size : shape) empty |= size == 0, n = checked_mul(n, size ? size : 1);
  if (empty) n = 0;
  if (device == Device::meta) return;
  check(n <= kMaxElements, "[shape] a tensor must have at most 2^48 elements. Received: shape=", shape);
  if (device != Device::cpu) {
    allocate_on_device(n * fastnn::itemsize(dtype));
    return;
  }
  const int64_t bytes = n * fastnn::itemsize(dtype) + kHeader;
  void* block = allocate(bytes);
  storage_ = new (block) Storage;
  storage_->bytes = bytes;
  storage_->data = data_ = static_cast<char*>(block) + kHeader;
  if (hooks.recorder) [[unlikely]] note_created(storage_);
}

namespace {
template <Device device>
void free_on_device(void* owner) {
  const auto* storage = static_cast<const Storage*>(owner);
  library(device).deallocate(storage->data, std::max<int64_t>(storage->bytes, 1));
}
}  // namespace

// The header of device memory lives on the host.
void Tensor::allocate_on_device(int64_t bytes) {
  const DeviceLibrary& lib = library(device_);
  void* block = lib.allocate(std::max<int64_t>(bytes, 1));
  if (!block) throw MemoryError(message("[memory] out of memory of ", device_name(device_), ". Received: bytes=", bytes));
  storage_ = new Storage;
  storage_->bytes = bytes;
  storage_->data = data_ = block;
  storage_->owner = storage_;
  storage_->release = device_ == Device::cuda ? free_on_device<Device::cuda> : free_on_device<Device::cuda_emu>;
  if (hooks.recorder) [[unlikely]] note_created(storage_);
}

void Tensor::release() {
  if (!storage_ || storage_->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (hooks.recorder) [[unlikely]] note_freed(storage_);
  if (storage_->release) {
    storage_->release(storage_->owner);
    delete storage_;
  } else {
    const int64_t bytes = storage_->bytes;
    deallocate(storage_, bytes);
  }
}

namespace {
void move_bytes(void* to, const void* from, int64_t bytes) { std::memmove(to, from, bytes); }
}  // namespace

void copy_bytes(Device device, void* to, const void* from, int64_t bytes) {
  const auto move = device == Device::cpu ? move_bytes : library(device).copy_within;
  host_step("copy_bytes", move, to, from, bytes);
}

Tensor Tensor::copy() const {
  Tensor y(shape_, dtype_, device_);
  if (!is_meta() && numel()) copy_bytes(device_, y.data_, data_, bytes());
  return y;
}

Tensor Tensor::reshape(const Shape& shape) const {
  Tensor y = borrowed() ? copy() : *this;
  y.shape_ = shape;
  return y;
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  Tensor y(*this);
  int64_t row = fastnn::itemsize(dtype_);
  for (int i = 1; i < rank(); ++i) row *= size(i);
  y.shape_.set(0, count);
  y.data_ = static_cast<char*>(data_) + begin * row;
  return borrowed() ? y.copy() : y;
}

namespace {
std::string rank_list(std::initializer_list<int> ranks) {
  std::ostringstream out;
  for (const int* r = ranks.begin(); r != ranks.end(); ++r)
    out << (r == ranks.begin() ? "" : r + 1 == ranks.end() ? " or " : ", ") << *r;
  return out.str();
}
}  // namespace

void check_rank(const char* op, const char* name, const Tensor& x, std::initializer_list<int> ranks) {
  for (int r : ranks)
    if (x.rank() == r) return;
  check(false, "[", op, "] ", name, " must have ", rank_list(ranks), " dimensions. Received: ", name,
        ".shape=", x.shape());
}

void check_float32(const char* op, const char* name, const Tensor& x) {
  check_type(x.dtype() == DType::float32, "[", op, "] ", name, " must be float32. Received: ", name,
             ".dtype=", x.dtype());
}

void check_shape(const char* op, const char* name, const Tensor& x, const Shape& expected) {
  check(x.shape() == expected, "[", op, "] ", name, " must have shape ", expected, ". Received: ", name,
        ".shape=", x.shape());
}

void check_positive(const char* op, const char* name, int64_t value) {
  check(value >= 1, "[", op, "] ", name, " must be at least 1. Received: ", name, "=", value);
}

namespace {
template <class T>
int64_t first_outside(const T* x, int64_t n, int64_t low, int64_t high) {
  bool outside = false;
  for (int64_t i = 0; i < n; ++i) outside |= (x[i] < low) | (x[i] >= high);
  if (!outside) return -1;
  int64_t i = 0;
  while (x[i] >= low && x[i] < high) ++i;
  return i;
}

// Throws at the first value outside [low, high): a ValueError for class labels, else an IndexError.
void check_values(Text op, Text name, int64_t device, const void* data, int64_t wide, int64_t n, int64_t low, int64_t high,
                  int64_t labels) {
  const HostView view(Device(device), data, n * (wide ? 8 : 4));
  const void* x = view.data();
  const auto* x64 = static_cast<const int64_t*>(x);
  const auto* x32 = static_cast<const int32_t*>(x);
  const int64_t at = wide ? first_outside(x64, n, low, high) : first_outside(x32, n, low, high);
  if (at < 0) return;
  const std::string text = message("[", op.chars, "] ", name.chars, " must be in [", low, ", ", high, "). Received: ",
                                   name.chars, "[", at, "]=", wide ? x64[at] : x32[at], " (position in row-major order)");
  check(!labels, text);
  check_index(false, text);
}

void check_range(const char* op, const char* name, const Tensor& x, int64_t low, int64_t high, bool labels) {
  if (x.is_meta() || x.numel() == 0) return;
  host_step("check_values", check_values, Text{op}, Text{name}, int64_t(x.device()), x.raw(), int64_t(x.dtype() == DType::int64), x.numel(), low,
            high, int64_t(labels));
}
}  // namespace

void check_index_range(const char* op, const char* name, const Tensor& x, int64_t low, int64_t high) {
  check_range(op, name, x, low, high, false);
}

void check_label_range(const char* op, const char* name, const Tensor& x, int64_t classes) {
  check_range(op, name, x, 0, classes, true);
}

void check_device(const char* op, std::initializer_list<const Tensor*> tensors) {
  const Device device = (*tensors.begin())->device();
  for (const Tensor* t : tensors)
    check(t->device() == device, "[", op, "] all arguments must be on one device.");
}

}  // namespace fastnn
