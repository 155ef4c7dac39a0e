#include "autograd/grad_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/philox.h"

namespace weir {
namespace {

Tensor random_like(const Tensor& t, std::uint64_t seed, std::uint32_t stream) {
  const RandomStream random{seed, stream, 0};
  std::vector<double> values(static_cast<std::size_t>(t.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return Tensor::from_values(t.shape(), values, DType::float64, t.device());
}

// In long double: the difference of two sums over thousands of elements would drown in the rounding of double.
long double dot(const Tensor& a, const Tensor& b) {
  const auto x = a.values(), y = b.values();
  long double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += static_cast<long double>(x[i]) * y[i];
  return sum;
}

Tensor moved(const Tensor& t, const Tensor& direction, double step) {
  auto x = t.values();
  const auto d = direction.values();
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += step * d[i];
  return Tensor::from_values(t.shape(), x, DType::float64, t.device());
}

std::vector<Tensor> floating_outputs(const TensorFunction& f, std::span<const Tensor> inputs) {
  std::vector<Tensor> kept;
  for (Tensor& y : f(inputs))
    if (is_floating(y.dtype())) kept.push_back(std::move(y));
  return kept;
}

class Check {
 public:
  Check(const TensorFunction& f, std::span<const Tensor> inputs, const GradCheckOptions& options)
      : f_(f), options_(options), inputs_(inputs.begin(), inputs.end()) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i] = inputs_[i].detach();
      if (!is_floating(inputs_[i].dtype())) continue;
      if (inputs_[i].dtype() != DType::float64)
        throw ArgumentError(
            fmt::format("grad_check: input {} is {}, expected float64", i, dtype_name(inputs_[i].dtype())));
      active_.push_back(i);
    }
  }

  std::string run() {
    outputs_ = with_gradients([&](std::span<const Tensor> leaves) { return floating_outputs(f_, leaves); });
    std::erase_if(outputs_, [](const Tensor& y) { return !requires_gradient(y); });
    if (outputs_.empty()) return "no output depends on a floating input";
    std::int64_t output_elements = 0;
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      weights_.push_back(random_like(outputs_[i], options_.seed, static_cast<std::uint32_t>(100 + i)));
      output_elements += outputs_[i].numel();
    }
    const std::vector<Tensor> analytic = gradients(outputs_, active_leaves(), weights_, {.keep_graph = true});
    for (std::size_t k = 0; k < active_.size(); ++k) {
      const Tensor direction = random_like(inputs_[active_[k]], options_.seed, static_cast<std::uint32_t>(k));
      if (auto message =
              compare(k, direction, static_cast<double>(dot(analytic[k], direction)), "along a random direction");
          !message.empty())
        return message;
      if (inputs_[active_[k]].numel() * output_elements > options_.full_jacobian_below) continue;
      if (auto message = full_jacobian(k); !message.empty()) return message;
    }
    return options_.second_order ? second_order() : "";
  }

 private:
  template <class F>
  std::vector<Tensor> with_gradients(F&& function) {
    leaves_.clear();
    for (const Tensor& t : inputs_) leaves_.push_back(t.detach());
    for (std::size_t i : active_) require_gradient(leaves_[i]);
    return function(leaves_);
  }

  std::vector<Tensor> active_leaves() const {
    std::vector<Tensor> result;
    for (std::size_t i : active_) result.push_back(leaves_[i]);
    return result;
  }

  // sum(outputs * weights) with active input k moved by `step` along `direction`.
  long double value(std::size_t k, const Tensor& direction, double step, std::span<const Tensor> weights) const {
    const NoGradient guard;
    std::vector<Tensor> at = inputs_;
    at[active_[k]] = moved(at[active_[k]], direction, step);
    const std::vector<Tensor> y = floating_outputs(f_, at);
    long double sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) sum += dot(y[i], weights[i]);
    return sum;
  }

  std::string compare(std::size_t k, const Tensor& direction, double analytic, const std::string& where) const {
    return compare(k, direction, analytic, where, weights_);
  }

  std::string compare(std::size_t k, const Tensor& direction, double analytic, const std::string& where,
                      std::span<const Tensor> weights) const {
    const double h = options_.step;
    const auto numeric =
        static_cast<double>((value(k, direction, h, weights) - value(k, direction, -h, weights)) / (2 * h));
    const double error = std::abs(analytic - numeric) / (1 + std::abs(numeric));
    if (error <= options_.tolerance) return "";
    return fmt::format(
        "gradient of input {} {}: analytic {:.10g}, numeric {:.10g} (relative difference {:.2g} > {:.2g})", active_[k],
        where, analytic, numeric, error, options_.tolerance);
  }

  std::string full_jacobian(std::size_t k) {
    const Tensor& input = inputs_[active_[k]];
    for (std::size_t o = 0; o < outputs_.size(); ++o) {
      for (std::int64_t row = 0; row < outputs_[o].numel(); ++row) {
        std::vector<Tensor> pick;
        for (const Tensor& y : outputs_) pick.push_back(Tensor::zeros_like(y));
        pick[o] = to_device(unit(outputs_[o].shape(), row), outputs_[o].device());
        const std::vector<double> analytic =
            gradients(outputs_, active_leaves(), pick, {.keep_graph = true})[k].values();
        for (std::int64_t column = 0; column < input.numel(); ++column) {
          const std::string where = fmt::format("at output {} element {}, input element {}", o, row, column);
          auto message =
              compare(k, unit(input.shape(), column), analytic[static_cast<std::size_t>(column)], where, pick);
          if (!message.empty()) return message;
        }
      }
    }
    return "";
  }

  static Tensor unit(const Shape& shape, std::int64_t element) {
    std::vector<double> values(static_cast<std::size_t>(shape.product()));
    values[static_cast<std::size_t>(element)] = 1;
    return Tensor::from_values(shape, values);
  }

  // The gradient as a function of the inputs is checked like any other function.
  std::string second_order() {
    const auto first = [this](std::span<const Tensor> at) {
      std::vector<Tensor> leaves(at.begin(), at.end());
      std::vector<Tensor> wanted;
      for (std::size_t i : active_) {
        if (!requires_gradient(leaves[i])) require_gradient(leaves[i] = leaves[i].detach());
        wanted.push_back(leaves[i]);
      }
      const GradientMode record(true);
      std::vector<Tensor> y = floating_outputs(f_, leaves);
      std::erase_if(y, [](const Tensor& t) { return !requires_gradient(t); });
      return gradients(y, wanted, weights_, {.create_graph = true});
    };
    GradCheckOptions options = options_;
    options.second_order = false;
    options.full_jacobian_below = 0;
    Check again(first, inputs_, options);
    const std::string message = again.run();
    // A gradient that does not depend on the inputs (a linear op) has nothing further to check.
    if (message.empty() || message == "no output depends on a floating input") return "";
    return "second order: " + message;
  }

  TensorFunction f_;
  GradCheckOptions options_;
  std::vector<Tensor> inputs_, leaves_, outputs_, weights_;
  std::vector<std::size_t> active_;
};

}  // namespace

std::string grad_check(const TensorFunction& f, std::span<const Tensor> inputs, const GradCheckOptions& options) {
  return Check(f, inputs, options).run();
}

}  // namespace weir
