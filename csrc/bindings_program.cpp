// Recorder and Program for Python: capturing.py decides what is recorded and when a program may run.
#include <atomic>

#include "caster.h"
#include "check.h"
#include "profile.h"
#include "program.h"

namespace py = pybind11;
using namespace py::literals;

namespace fastnn {
namespace {

// Counts changes outside of variables that a recorded step may depend on: a program made before the
// last one must be checked against a new recording.
std::atomic<int64_t> generation{0};

// Attribute names of Variable.
PyObject* value_name() {
  static PyObject* name = PyUnicode_InternFromString("_value");
  return name;
}
PyObject* version_name() {
  static PyObject* name = PyUnicode_InternFromString("version");
  return name;
}

// The tensor that a variable holds.
py::object value_of(PyObject* variable) {
  auto value = py::reinterpret_steal<py::object>(PyObject_GetAttr(variable, value_name()));
  if (!value) throw py::error_already_set();
  check_type(is_tensor(value.ptr()), "[capture] a variable must hold a tensor");
  return value;
}

int64_t version_of(PyObject* variable) {
  auto version = py::reinterpret_steal<py::object>(PyObject_GetAttr(variable, version_name()));
  if (!version) throw py::error_already_set();
  return PyLong_AsLongLong(version.ptr());
}

// Gives a variable storage of its own.
void detach(PyObject* variable, const Tensor& t) {
  auto own = py::reinterpret_steal<py::object>(wrap(t.copy()));
  if (!own || PyObject_SetAttr(variable, value_name(), own.ptr()) != 0) throw py::error_already_set();
}

class PyProgram {
 public:
  PyProgram(std::unique_ptr<Program> program, std::vector<py::object> variables, std::vector<int64_t> bumps)
      : program_(std::move(program)), variables_(std::move(variables)), bumps_(std::move(bumps)) {}

  std::string difference(const PyProgram& other) const {
    if (bumps_ != other.bumps_) return "how often a variable is assigned to";
    return program_->difference(*other.program_);
  }

  void adopt(const PyProgram& earlier, bool inference) {
    program_->share_constants(*earlier.program_);
    program_->fuse(inference);
    program_->plan();
  }

  // The step on these inputs: a list of results, or None if it cannot be run now (the inputs are
  // others than the recorded ones, or another thread runs it).
  py::object run(const py::tuple& inputs) {
    Program& p = *program_;
    if (cleared_ || hooks.recorder || inferring || busy_.test_and_set(std::memory_order_acquire)) return py::none();
    struct Release {
      PyProgram& self;
      ~Release() {
        self.held_.clear();
        self.program_->forget_results();
        self.busy_.clear(std::memory_order_release);
      }
    } release{*this};
    if (inputs.size() != p.inputs.size()) return py::none();
    for (size_t i = 0; i < p.inputs.size(); ++i) {
      PyObject* o = inputs[i].ptr();
      if (!is_tensor(o)) return py::none();
      const Tensor& t = unwrap(o);
      if (t.device() != p.device || t.dtype() != p.inputs[i].dtype || !(t.shape() == p.inputs[i].shape)) return py::none();
    }
    std::vector<py::object> objects;  // held, these tell a recorder of another thread that they are being written
    // Everything that is read stays alive, and is copied by who assigns to it meanwhile.
    for (size_t k = 0; k < variables_.size(); ++k) {
      PyObject* variable = variables_[k].ptr();
      py::object value = value_of(variable);
      if (p.variable_written[k] && !unwrap(value.ptr()).unique()) {
        detach(variable, unwrap(value.ptr()));
        value = value_of(variable);
      }
      Tensor& t = unwrap(value.ptr());
      if (t.device() != p.device || t.bytes() != bytes_[k]) return py::none();
      p.bind_variable(int64_t(k), t.raw());
      held_.push_back(t);
      objects.push_back(std::move(value));
    }
    for (size_t i = 0; i < p.inputs.size(); ++i) {
      held_.push_back(unwrap(inputs[i].ptr()));
      p.bind_input(int64_t(i), held_.back().raw());
    }
    std::vector<std::pair<int64_t, const void*>> now;
    for (int64_t k : p.prologue_variables) now.push_back({version_of(variables_[k].ptr()), held_[k].raw()});
    const bool stale = p.prologue > 0 && now != made_from_;
    if (stale) made_from_.clear();
    Tensor block(Shape{p.block_bytes}, DType::uint8, p.device);
    p.bind_block(block.raw());
    p.bind_results();
    try {
      py::gil_scoped_release nogil;
      p.run(stale);
    } catch (...) {
      raise_versions();  // variables may have been written before the call that threw
      throw;
    }
    if (stale) made_from_ = std::move(now);
    raise_versions();
    ++runs_;
    py::list results(p.results.size());
    for (size_t k = 0; k < p.results.size(); ++k) results[k] = py::reinterpret_steal<py::object>(wrap(result(int64_t(k))));
    return results;
  }

  const std::vector<py::object>& variables() const { return variables_; }
  void clear() {
    const std::vector<py::object> variables = std::move(variables_);
    variables_.clear();
    cleared_ = true;
  }

  void note_sizes() {
    bytes_.clear();
    for (const py::object& v : variables_) bytes_.push_back(unwrap(value_of(v.ptr()).ptr()).bytes());
  }

  py::dict statistics() const {
    return py::dict("calls"_a = program_->steps.size(), "runs"_a = runs_, "block_bytes"_a = program_->block_bytes,
                    "live_bytes"_a = program_->live_bytes, "variables"_a = variables_.size(),
                    "graphs"_a = program_->graphs().captured, "graph_launches"_a = program_->graphs().launched,
                    "graph_runs"_a = program_->graphs().repeated,
                    "constants"_a = std::count_if(program_->values.begin(), program_->values.end(),
                                                  [](const Value& v) { return v.constant; }));
  }
  py::list calls() const {
    py::list found;
    for (const Step& s : program_->steps) found.append(py::make_tuple(s.name, s.label));
    return found;
  }

 private:
  // Tells who keeps what it has made from variables that they are others now.
  void raise_versions() {
    for (size_t k = 0; k < variables_.size(); ++k) {
      if (!bumps_[k]) continue;
      auto version = py::reinterpret_steal<py::object>(PyLong_FromLongLong(version_of(variables_[k].ptr()) + bumps_[k]));
      if (!version || PyObject_SetAttr(variables_[k].ptr(), version_name(), version.ptr()) != 0) throw py::error_already_set();
    }
  }
  // A result as the step would return it: a tensor of its own, or what the input or variable holds.
  Tensor result(int64_t k) {
    const Result& r = program_->results[k];
    if (r.ref.place != Place::variable && r.ref.place != Place::input) return program_->result(k);
    const Tensor& t = held_[r.ref.place == Place::variable ? r.ref.index : int64_t(variables_.size()) + r.ref.index];
    t.storage()->refs.fetch_add(1, std::memory_order_relaxed);
    Tensor y(t.storage(), const_cast<char*>(static_cast<const char*>(t.raw())) + r.ref.offset, r.shape, r.dtype, t.device());
    return t.borrowed() ? y.copy() : y;
  }

  std::unique_ptr<Program> program_;
  std::vector<py::object> variables_;  // in the program's order
  std::vector<int64_t> bumps_;         // how much a run raises each one's version
  std::vector<int64_t> bytes_;
  std::vector<Tensor> held_;
  std::vector<std::pair<int64_t, const void*>> made_from_;  // versions and storage of the prologue's variables
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  int64_t runs_ = 0;
  bool cleared_ = false;  // by the collector
};

// ---- steps that NumPy computes ----

PyObject* python_runner = nullptr;  // runner(number, list of tensors) -> list of arrays

// One array of such a step, behind its pointer.
struct Described {
  int64_t dtype, rank;
  int64_t size[Shape::kMaxRank];
};

// args: number, count of inputs, count of outputs, device, their Described, then their pointers.
void run_python_step(void (*)(), const std::byte* args) {
  int64_t head[4];
  std::memcpy(head, args, sizeof head);
  const auto* described = reinterpret_cast<const Described*>(args + sizeof head);
  void* const* pointers = reinterpret_cast<void* const*>(described + head[1] + head[2]);
  const auto tensor = [&](int64_t i) {
    auto* storage = new Storage;  // of memory that the program holds
    storage->data = pointers[i];
    storage->borrowed = true;
    storage->release = [](void*) {};
    const Shape shape(described[i].size, int(described[i].rank));
    storage->bytes = shape.numel() * itemsize(DType(described[i].dtype));
    return Tensor(storage, pointers[i], shape, DType(described[i].dtype), Device(head[3]));
  };
  py::gil_scoped_acquire gil;
  py::list inputs;
  for (int64_t i = 0; i < head[1]; ++i) inputs.append(py::reinterpret_steal<py::object>(wrap(tensor(i))));
  const py::list results = py::reinterpret_borrow<py::object>(python_runner)(head[0], inputs);
  check(int64_t(results.size()) == head[2], "[capture] a step of NumPy gave another number of arrays than when it was recorded");
  for (int64_t i = 0; i < head[2]; ++i) {
    Tensor y = tensor(head[1] + i);
    const py::buffer_info info = py::reinterpret_borrow<py::buffer>(results[i]).request();
    check(info.size * info.itemsize == y.bytes(), "[capture] a step of NumPy gave another size than when it was recorded");
    write_from_host(y.device(), y.raw(), info.ptr, y.bytes());
  }
}

// Notes that NumPy has computed `arrays` from `inputs` by step `number`; returns them as tensors.
py::list record_python(int64_t number, const std::vector<Tensor>& inputs, const py::list& arrays,
                       const std::vector<DType>& dtypes) {
  std::vector<Tensor> all = inputs;
  py::list results;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const py::buffer_info info = py::reinterpret_borrow<py::buffer>(arrays[i]).request();
    Shape shape;
    for (const auto n : info.shape) shape.push_back(n);
    Tensor y(shape, dtypes[i], current_device());
    write_from_host(current_device(), y.raw(), info.ptr, y.bytes());
    all.push_back(y);
    results.append(py::reinterpret_steal<py::object>(wrap(y)));
  }
  const int64_t head[4] = {number, int64_t(inputs.size()), int64_t(arrays.size()), int64_t(current_device())};
  std::vector<std::byte> args(sizeof head + all.size() * (sizeof(Described) + sizeof(void*)));
  std::memcpy(args.data(), head, sizeof head);
  std::vector<PointerUse> uses;
  for (size_t i = 0; i < all.size(); ++i) {
    Described d{int64_t(all[i].dtype()), all[i].rank(), {}};
    for (int a = 0; a < all[i].rank(); ++a) d.size[a] = all[i].size(a);
    std::memcpy(args.data() + sizeof head + i * sizeof d, &d, sizeof d);
    const int64_t at = int64_t(sizeof head + all.size() * sizeof d + i * sizeof(void*));
    if (all[i].numel()) uses.push_back({at, all[i].raw(), i >= inputs.size()});
  }
  if (hooks.recorder)
    hooks.recorder->add({"numpy", -1, run_python_step, nullptr, args.data(), int64_t(args.size()), &uses});
  return results;
}

class PyRecorder {
 public:
  PyRecorder(const std::vector<Tensor>& inputs, const py::list& variables) {
    std::vector<Recorder::Range> ranges;
    for (const auto& v : variables) {
      py::object value = value_of(v.ptr());
      // Nobody else may hold what the step overwrites, or it would be copied, this time only. But where somebody
      // holds the very object, beside the variable and this function, another thread is about to write to it.
      if (!unwrap(value.ptr()).is_meta() && !unwrap(value.ptr()).unique() && Py_REFCNT(value.ptr()) <= 2) {
        detach(v.ptr(), unwrap(value.ptr()));
        value = value_of(v.ptr());
      }
      const Tensor& t = unwrap(value.ptr());
      const bool real = !t.is_meta() && t.numel() > 0;
      ranges.push_back({real ? t.raw() : nullptr, real ? t.bytes() : 0});
      versions_.push_back(version_of(v.ptr()));
      variables_.push_back(py::reinterpret_borrow<py::object>(v));
    }
    start_ = ranges;
    std::erase_if(ranges, [](const auto& r) { return !r.data; });
    recorder_ = std::make_unique<Recorder>(inputs, start_);
  }

  bool start() { return recorder_->start(); }
  void stop() { recorder_->stop(); }
  void fail(const std::string& why) { recorder_->fail(why); }
  std::string why() const { return recorder_->why(); }

  py::object finish(const std::vector<Tensor>& results) {
    std::vector<std::pair<int64_t, Tensor>> moved;
    for (size_t k = 0; k < variables_.size(); ++k) {
      const py::object value = value_of(variables_[k].ptr());
      const Tensor& t = unwrap(value.ptr());
      if (start_[k].data && t.raw() != start_[k].data) moved.push_back({int64_t(k), t});
    }
    std::unique_ptr<Program> program = recorder_->finish(results, moved);
    if (!program) {
      recorder_->stop();
      return py::none();
    }
    std::vector<py::object> used;
    std::vector<int64_t> bumps;
    for (int64_t number : program->variables) {
      used.push_back(variables_[number]);
      bumps.push_back(version_of(variables_[number].ptr()) - versions_[number]);
    }
    // Two recordings number the variables of the process differently; their identity is what counts.
    for (size_t k = 0; k < used.size(); ++k) program->variables[k] = reinterpret_cast<int64_t>(used[k].ptr());
    auto made = std::make_unique<PyProgram>(std::move(program), std::move(used), std::move(bumps));
    made->note_sizes();
    return py::cast(std::move(made));
  }

 private:
  std::unique_ptr<Recorder> recorder_;
  std::vector<py::object> variables_;
  std::vector<Recorder::Range> start_;
  std::vector<int64_t> versions_;
};

}  // namespace

void bind_program(py::module_& m) {
  // The collector must see the variables: they belong to models that may be unreachable.
  const auto collected = py::custom_type_setup([](PyHeapTypeObject* heap) {
    heap->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
    heap->ht_type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
      Py_VISIT(Py_TYPE(self));
      if (!py::detail::is_holder_constructed(self)) return 0;
      for (const py::object& v : py::cast<PyProgram&>(py::handle(self)).variables()) Py_VISIT(v.ptr());
      return 0;
    };
    heap->ht_type.tp_clear = [](PyObject* self) {
      if (py::detail::is_holder_constructed(self)) py::cast<PyProgram&>(py::handle(self)).clear();
      return 0;
    };
  });
  py::class_<PyProgram>(m, "Program", "A recorded step that runs without Python.", collected)
      .def("difference", &PyProgram::difference)
      .def("adopt", &PyProgram::adopt, "earlier"_a, "inference"_a = false)
      .def("run", &PyProgram::run)
      .def("statistics", &PyProgram::statistics)
      .def("calls", &PyProgram::calls);
  py::class_<PyRecorder>(m, "Recorder", "Notes the calls of this thread.")
      .def(py::init<const std::vector<Tensor>&, const py::list&>())
      .def("start", &PyRecorder::start)
      .def("stop", &PyRecorder::stop)
      .def("fail", &PyRecorder::fail)
      .def("why", &PyRecorder::why)
      .def("finish", &PyRecorder::finish);
  m.def("recording_calls", [] { return hooks.recorder != nullptr; }, "Whether calls of this thread are being recorded.");
  py::class_<Profiler>(m, "Profiler", "Times the calls of this thread.")
      .def(py::init<>())
      .def("start", &Profiler::start)
      .def("stop", &Profiler::stop)
      .def("events", [](const Profiler& p) {
        py::list found;
        for (const Event& e : p.events)
          found.append(py::make_tuple(e.name, e.label, e.start, e.seconds, e.flops, e.bytes));
        return found;
      });
  m.def("set_python_runner", [](py::object runner) { python_runner = runner.release().ptr(); }, "runner"_a);
  m.def("record_python", &record_python, "number"_a, "inputs"_a, "arrays"_a, "dtypes"_a);
  m.def("pause_recording", [](bool pause) {
    static thread_local Recorder* paused = nullptr;
    if (pause) paused = std::exchange(hooks.recorder, nullptr);
    else hooks.recorder = std::exchange(paused, nullptr);
  }, "pause"_a, "What Python reads between pause and continuation is not noted.");
  m.def("set_label", [](const std::string& label) {
    const char* before = hooks.label;
    hooks.label = intern(Text{label.c_str()}).chars;
    return before;
  }, "label"_a, "Calls of this thread belong to this layer from now on; returns the label before.");
  m.def("generation", [] { return generation.load(std::memory_order_relaxed); });
  m.def("changed", [] { generation.fetch_add(1, std::memory_order_relaxed); },
        "Recorded steps must be recorded again: something that they may depend on has changed.");
}

}  // namespace fastnn
