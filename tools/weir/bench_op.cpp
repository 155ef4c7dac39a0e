// weir bench op: one op, as large as in the paper's models, beside what this machine reaches at best.
#include <fmt/format.h>

#include <algorithm>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/op_info.h"
#include "core/text.h"
#include "tools/weir/bench.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/roof.h"

namespace weir {
namespace {

struct Arguments {
  std::string op, sample = "large", dtype = "float32", device = "cpu";
  BenchOptions options;

  void visit(OptionVisitor& v) {
    v.argument("OP", op, "an op, such as softmax; docs/ops.md lists all");
    v.option("--sample NAME", sample, "the call to time: large, or one of the calls that the op is tested with");
    dtype_option(v, dtype, {"float64", "float32", "bf16"});
    device_option(v, device);
    options.visit(v);
  }
};

const OpRecord& record_of(const std::string& name) {
  std::vector<std::string> names;
  for (const OpRecord& record : op_records()) {
    if (record.name == name) return record;
    names.push_back(record.name);
  }
  for (const OpRecord& record : op_records())
    if ((", " + record.signature).find(", " + name + "(") != std::string::npos)
      throw ArgumentError(
          fmt::format("{} is timed as a call of {}: weir bench op {} --sample NAME", name, record.name, record.name));
  throw ArgumentError("there is no op " + quote_short(name) + did_you_mean(name, names) +
                      "; docs/ops.md lists all of them");
}

Sample sample_of(const OpRecord& record, const std::string& name) {
  if (name == "large") return record.large();
  std::vector<std::string> names{"large"};
  for (Sample& sample : record.samples()) {
    if (sample.name == name) return std::move(sample);
    names.push_back(sample.name);
  }
  const std::string meant = did_you_mean(name, names);
  for (std::string& one : names) one = quote(one);
  throw ArgumentError(fmt::format("--sample: {} has no call {}{}; choose one of {}", record.name, quote_short(name),
                                  meant, join(names, ", ")));
}

// A call of the op, alone and with its gradients.
class Call {
 public:
  Call(const OpRecord& record, Sample sample, DType dtype, Device device) : sample_(std::move(sample)) {
    for (const Tensor& t : sample_.inputs) {
      const Tensor converted_there = to_device(is_floating(t.dtype()) ? converted(t, dtype) : t, device);
      inputs_.push_back(converted_there.detach());
      if (record.differentiable && is_floating(t.dtype())) wanted_.push_back(require_gradient(inputs_.back()));
    }
    if (wanted_.empty()) return;
    for (const Tensor& y : active_of(sample_.run(inputs_)))
      dys_.push_back(Tensor::full(y.shape(), 0.5, y.dtype(), y.device()));
  }

  bool differentiable() const { return !dys_.empty(); }
  void forward() const {
    const NoGradient guard;
    sample_.run(inputs_);
  }
  void forward_and_backward() const { gradients(active_of(sample_.run(inputs_)), wanted_, dys_); }
  std::string text() const {
    std::vector<std::string> shapes;
    for (const Tensor& t : inputs_) shapes.push_back(t.shape().str());
    return join(shapes, ", ");
  }

 private:
  static std::vector<Tensor> active_of(std::vector<Tensor> outputs) {
    std::erase_if(outputs, [](const Tensor& y) { return !requires_gradient(y); });
    return outputs;
  }

  Sample sample_;
  std::vector<Tensor> inputs_, wanted_, dys_;
};

BenchCase timed(const std::string& name, const BenchOptions& options, Device device,
                const std::function<void()>& work) {
  const KernelCost cost = cost_of(work);
  return {.name = name, .timing = time_runs(options, work, device), .flops = cost.flops, .bytes = cost.bytes};
}

void run(const Arguments& a) {
  a.options.apply_threads();
  const OpRecord& record = record_of(a.op);
  const Device device = device_from_name(a.device);
  const DType dtype = dtype_from_name(a.dtype);
  if (dtype == DType::bf16 && !record.low_precision)
    throw ArgumentError(fmt::format("--dtype: {} does not take bf16; choose float32 or float64", a.op));
  const Call call(record, sample_of(record, a.sample), dtype, device);
  std::vector<BenchCase> cases{timed(a.op, a.options, device, [&] { call.forward(); })};
  if (call.differentiable())
    cases.push_back(timed("and its gradients", a.options, device, [&] { call.forward_and_backward(); }));
  Roof roof = memory_roof(device);
  if (cases[0].flops > 0 && dtype != DType::float64) roof.flops = matrix_roof(dtype, device).flops;
  print_cases(a.options, cases, roof, {{"op", a.op}, {"sample", a.sample}, {"dtype", a.dtype}, {"device", a.device}},
              fmt::format("{} of {}, {}, {}", a.op, call.text(), a.dtype, a.device));
}

}  // namespace

void add_bench_op(CommandLine& line) { line.add<Arguments>("bench op", "one op, with its gradients", run); }

}  // namespace weir
