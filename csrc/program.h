// A recorded step. While a Recorder is active in a thread, every call of that thread is noted with
// what its pointers mean: a value made in the step, a variable's storage, an input, or memory that
// stays. The Program made of it can run the calls again on other addresses, without Python.
//
// Values get their place in one block of memory when the recording ends: two whose lifetimes do not
// meet may share it. Results have memory of their own, which the caller takes.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "record.h"
#include "tensor.h"

namespace fastnn {

// What a pointer points into.
enum class Place : int64_t { null, value, variable, input, pinned, zeros };
struct Ref {
  Place place = Place::null;
  int64_t index = 0, offset = 0;
  bool operator==(const Ref&) const = default;
};

struct Operand {
  int64_t at;  // of the pointer, in the program's arguments
  Ref ref;
  bool written;
};

struct Step {
  const char* name;
  int kernel;
  const char* label;  // of the layer that made the call
  Thunk run;
  void (*function)();
  int64_t args, bytes;         // in the program's arguments
  int64_t first_operand, operands;
};

// Steps [first, first + calls * count): `count` strips of samples, of `calls` calls each. A strip runs on one thread from
// its first call to its last, so that each call reads what the caches of that core still hold.
struct Strips {
  int64_t first, calls, count;
  int64_t bytes = 0;  // of the values in_strip: memory of the thread
};

// Memory that lives within one run of the step.
struct Value {
  int64_t bytes = 0;
  int first = -1, last = -1;  // steps that use it
  bool constant = false;      // made by the host; `data` keeps it
  Tensor data;
  uint64_t hash = 0;          // of borrowed data when it was noted
  int result = -1;            // it leaves the program as this result's memory
  int64_t place = -1;         // offset in the block
  int64_t in_place_of = -1;   // the value whose place it takes
  bool kept = false;          // written by the prologue and kept between runs
  bool in_strip = false;      // lives within a strip; place: an offset in its memory
};

struct Result {
  Ref ref;
  Shape shape;
  DType dtype;
};

struct InputSpec {
  Shape shape;
  DType dtype;
};

class Program;

// The calls of a program on a device as graphs: one for each stretch of calls between two steps of the host. A graph
// holds the addresses it was captured with. Those of inputs, results and the block take turns, so graphs are
// kept for a few sets of addresses; a set is captured when it comes the second time, and what never comes again is not.
class Graphs {
 public:
  Graphs() = default;
  Graphs(const Graphs&) {}  // a copied program makes its own
  ~Graphs();
  // Runs the steps behind the prologue.
  void run(const Program& program);

  int64_t launched = 0;  // graphs, so far
  int64_t repeated = 0;  // runs with addresses whose graphs were there
  int64_t captured = 0;

 private:
  struct Stretch {
    int64_t begin, end;  // steps
    bool capturable;
  };
  struct Set {
    std::vector<const void*> addresses;
    std::vector<void*> graphs;  // of each stretch, or null
    bool ready = false;         // its graphs hold these addresses
    int64_t used = 0;
  };
  void cut(const Program& program);

  std::vector<Stretch> stretches_;
  std::vector<Set> sets_;
  int64_t clock_ = 0;
  Device device_ = Device::cpu;
};

class Program {
 public:
  // The first difference to another recording of the same step; empty if there is none.
  std::string difference(const Program& other) const;
  // Constants that both recordings read from one array of the user's are read there from now on.
  void share_constants(const Program& earlier);
  // Moves the checks of what is given to the step to its front, with what computes it (checks.cpp): a wrong index raises
  // before the step writes anything, and the host waits for a device once, before the calls that become one graph.
  void put_checks_first();
  // Makes one call of several where their results are the same (fusion.cpp). inference: and where they differ by
  // rounding alone.
  void fuse(bool inference);
  // Lays out the memory; once, when the program is going to run.
  void plan();

  // Addresses for the next run. variable: an index of `variables`.
  void bind_variable(int64_t index, void* data) { bind(variable_bases_[index], variable_operands_[index], data); }
  void bind_input(int64_t index, const void* data) { bind(input_bases_[index], input_operands_[index], const_cast<void*>(data)); }
  void bind_block(void* data);
  void bind_results();  // new memory for results
  // Runs all steps, the prologue where asked to. What a step throws ends the run.
  void run(bool with_prologue);
  // A result of this run; what is not made by the program is looked up by the caller.
  Tensor result(int64_t index) const;
  void forget_results() { result_memory_.clear(); }
  // Steps [begin, end), one by one.
  void run_steps(int64_t begin, int64_t end) const;
  // Everything that is bound.
  std::vector<const void*> addresses() const;
  const Graphs& graphs() const { return graphs_; }

  Device device = Device::cpu;
  std::vector<Step> steps;
  std::vector<Operand> operands;
  std::vector<Strips> strips;  // in their order
  std::vector<Value> values;
  std::vector<Tensor> pinned;
  std::vector<InputSpec> inputs;
  std::vector<Result> results;
  std::vector<int64_t> variables;         // what each variable is, a number of the recorder's list
  std::vector<bool> variable_written;
  mutable std::vector<std::byte> args;  // mutable: a strip notes its thread's memory in those of its calls
  int64_t prologue = 0;  // the first steps, which depend on variables alone, and these variables
  std::vector<int64_t> prologue_variables;
  std::vector<std::pair<int64_t, int64_t>> in_place;  // (y, x): value y takes the memory of x, which ends where y begins
  std::shared_ptr<const Program> recorded;  // what it was before it was fused
  int64_t block_bytes = 0;  // of all values
  int64_t live_bytes = 0;   // the most that must live at once

 private:
  using Positions = std::vector<std::pair<int64_t, int64_t>>;  // (position in args, offset)
  void bind(void*& base, const Positions& positions, void* data);
  void run_step(const Step& s) const { s.run(s.function, args.data() + s.args); }
  void bind_strip(const Step& step, const std::byte* memory) const;
  template <class F>
  void run_strips(const Strips& strips, F run) const;
  void run_profiled(Profiler& profiler, int64_t begin, int64_t end) const;
  void place_in_order();
  void place_by_size();

  Positions block_operands_;
  std::vector<Positions> variable_operands_, input_operands_, result_operands_;
  void* block_base_ = nullptr;
  std::vector<void*> variable_bases_, input_bases_;
  std::vector<int64_t> result_values_;   // the value whose memory each result buffer is
  std::vector<Tensor> result_memory_;
  std::vector<Tensor> kept_;
  Graphs graphs_;
};

class Recorder {
 public:
  struct Range {
    const void* data;
    int64_t bytes;
  };
  // Inputs must not overlap one another or a variable.
  Recorder(std::vector<Tensor> inputs, std::vector<Range> variables);
  ~Recorder() { stop(); }
  // Notes the calls of this thread from now on; false if another recorder does.
  bool start();
  void stop();

  // The program, or null: see why(). moved: (variable, its tensor now) of variables whose storage was
  // replaced during the step, which the program must copy back.
  std::unique_ptr<Program> finish(const std::vector<Tensor>& results, const std::vector<std::pair<int64_t, Tensor>>& moved);
  const std::string& why() const { return why_; }
  void fail(std::string why);

  void add(const Call& call);
  void created(Storage* storage);
  void freed(Storage* storage);
  void host_data(const Tensor& t);
  void argument(const Tensor& t);
  // True if a program may rely on what Python reads there.
  bool readable(const Tensor& t);

 private:
  struct Live {
    int64_t bytes;
    int64_t value;  // -1 until it is used
    Tensor constant;
    bool is_constant = false;
  };
  bool resolve(const void* p, bool written, Ref* ref);
  int64_t use(Live& live, bool written);
  Ref variable_ref(size_t k, int64_t offset, bool written);

  std::unique_ptr<Program> program_;
  std::string why_;
  std::vector<Tensor> inputs_;
  std::map<uintptr_t, Live> live_;
  std::map<uintptr_t, std::pair<int64_t, int64_t>> variables_;  // start -> (bytes, number)
  std::map<int64_t, int64_t> variable_index_;                   // number -> index in the program
  std::map<uintptr_t, int64_t> pinned_;
};

}  // namespace fastnn
