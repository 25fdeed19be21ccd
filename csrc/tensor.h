// Tensor: contiguous row-major storage with a shape, a dtype and a device.
//
// A Tensor is a handle: copies share storage, which is freed with its last handle. Values are
// immutable once an op has returned them; only variables overwrite their storage, and only when
// nobody else holds it (Storage::unique).
#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <vector>

namespace fastnn {

enum class DType : uint8_t {
  boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64
};
inline constexpr int kDTypes = 13;
int64_t itemsize(DType dtype);
const char* dtype_name(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);

// `meta` tensors have a shape and no data: ops on them only infer shapes and dtypes.
enum class Device : uint8_t { cpu, meta, cuda, cuda_emu };

class Shape {
 public:
  static constexpr int kMaxRank = 16;
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : Shape(sizes.begin(), int(sizes.size())) {}
  Shape(const std::vector<int64_t>& sizes) : Shape(sizes.data(), int(sizes.size())) {}
  Shape(const int64_t* sizes, int rank);  // ValueError: rank above kMaxRank, a negative size

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  void set(int axis, int64_t size) { sizes_[axis < 0 ? axis + rank_ : axis] = size; }
  void push_back(int64_t size);
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[i];
    return n;
  }
  const int64_t* begin() const { return sizes_; }
  const int64_t* end() const { return sizes_ + rank_; }
  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (sizes_[i] != other.sizes_[i]) return false;
    return true;
  }

 private:
  int rank_ = 0;
  int64_t sizes_[kMaxRank];
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);

// A block of memory: our own (from memory.h) or somebody else's (release is called at the end).
struct Storage {
  void* data = nullptr;
  int64_t bytes = 0;
  std::atomic<int64_t> refs{1};
  // Borrowed memory may change after the op that reads it: results must not alias it.
  bool borrowed = false;
  void (*release)(void* owner) = nullptr;
  void* owner = nullptr;
};

class Tensor {
 public:
  Tensor() = default;
  // Uninitialised. ValueError: the byte count overflows; MemoryError: it cannot be had.
  explicit Tensor(const Shape& shape, DType dtype = DType::float32, Device device = Device::cpu);
  // Takes over one reference to `storage`.
  Tensor(Storage* storage, void* data, const Shape& shape, DType dtype, Device device = Device::cpu)
      : storage_(storage), data_(data), shape_(shape), dtype_(dtype), device_(device) {}
  Tensor(const Tensor& other)
      : storage_(other.storage_), data_(other.data_), shape_(other.shape_), dtype_(other.dtype_),
        device_(other.device_) {
    if (storage_) storage_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  Tensor(Tensor&& other) noexcept
      : storage_(other.storage_), data_(other.data_), shape_(other.shape_), dtype_(other.dtype_),
        device_(other.device_) {
    other.storage_ = nullptr;
  }
  Tensor& operator=(Tensor other) noexcept {
    std::swap(storage_, other.storage_);
    data_ = other.data_, shape_ = other.shape_, dtype_ = other.dtype_, device_ = other.device_;
    return *this;
  }
  ~Tensor() { release(); }

  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t size(int axis) const { return shape_[axis]; }
  int64_t numel() const { return shape_.numel(); }
  int64_t bytes() const { return numel() * itemsize(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool is_meta() const { return device_ == Device::meta; }

  template <class T>
  const T* data() const { return static_cast<const T*>(data_); }
  template <class T>
  T* mut() { return static_cast<T*>(data_); }
  const float* f32() const { return data<float>(); }
  float* f32() { return mut<float>(); }
  const void* raw() const { return data_; }
  void* raw() { return data_; }

  // The same values under another shape of the same element count (not checked here).
  // Borrowed memory is copied, everything else is shared.
  Tensor reshape(const Shape& shape) const;
  // `count` rows of the first axis from `begin`, sharing storage (borrowed memory is copied).
  Tensor rows(int64_t begin, int64_t count) const;
  Tensor copy() const;
  // The same memory read as a dtype of the same item size.
  Tensor bitcast(DType dtype) const {
    Tensor y = borrowed() ? copy() : *this;
    y.dtype_ = dtype;
    return y;
  }

  bool borrowed() const { return storage_ && storage_->borrowed; }
  bool unique() const { return storage_ && storage_->refs.load(std::memory_order_acquire) == 1; }
  Storage* storage() const { return storage_; }

 private:
  void release();
  void allocate_on_device(int64_t bytes);
  Storage* storage_ = nullptr;
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::float32;
  Device device_ = Device::cpu;
};

// A copy of bytes that may overlap, within a device.
void copy_bytes(Device device, void* to, const void* from, int64_t bytes);

}  // namespace fastnn
