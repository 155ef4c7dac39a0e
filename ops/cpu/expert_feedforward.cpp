// The fused experts of ops/expert_feedforward.h on the CPU.
//
// Rows are (token, slot) pairs sorted by expert. Forward: each tile of one expert's rows gathers its tokens, and is
// multiplied, rectified and multiplied again; then every token adds up its K rows in slot order. Dropout and hidden_k
// set hidden units to 0 in between; the backward pass needs to know no more about them. Backward: each unit of
// one expert's rows walks over tiles and adds to that expert's weight gradients; further units of the same expert have
// sums of their own, added afterwards in order. Tiles and units depend on the row counts alone, so do the bits.
#include "ops/expert_feedforward.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>

#include "core/parallel.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/grouped.h"
#include "ops/cpu/keep.h"
#include "ops/cpu/reduce.h"
#include "ops/relu.h"
#include "ops/support/index.h"

namespace weir {
namespace {

constexpr std::int64_t kTileRows = 256;   // a multiple of the row granule
constexpr std::int64_t kUnitRows = 1024;  // a multiple of kTileRows

template <class T>
cpu::Matrix<T> matrix(const Rows<T>& rows, std::int64_t first = 0) {
  return {rows.row(first), rows.stride, false};
}
template <class T>
cpu::Matrix<T> transposed(const Rows<T>& rows, std::int64_t first = 0) {
  return {rows.row(first), rows.stride, true};
}
template <class T>
Rows<T> scratch_rows(Tensor& owner, std::int64_t rows, std::int64_t cols) {
  owner = Tensor::empty({rows, cols}, dtype_of<T>());
  return rows_of<T>(owner);
}

void sort_pairs(const Tensor& index, std::int64_t experts, std::int64_t granule, ExpertFeedforwardState& state) {
  const IndexOrder order = stable_order(checked_index("expert_feedforward", "index", index, experts), experts);
  state.offsets = Tensor::zeros({experts + 1}, DType::int64);
  std::int64_t* const offsets = state.offsets.data<std::int64_t>();
  for (std::int64_t e = 0; e < experts; ++e) {
    const auto place = static_cast<std::size_t>(e);
    offsets[e + 1] = offsets[e] + cpu::rounded_up(order.offsets[place + 1] - order.offsets[place], granule);
  }
  // As long as any routing could need, so that its memory and all that follows its length are the same at every step.
  state.pair_of_row = Tensor::full({index.numel() + experts * (granule - 1)}, -1, DType::int32);
  state.row_of_pair = Tensor::empty({index.numel()}, DType::int32);
  std::int32_t* const pairs = state.pair_of_row.data<std::int32_t>();
  std::int32_t* const rows = state.row_of_pair.data<std::int32_t>();
  for (std::int64_t e = 0; e < experts; ++e) {
    std::int64_t row = offsets[e];
    for (auto i = order.offsets[static_cast<std::size_t>(e)]; i < order.offsets[static_cast<std::size_t>(e) + 1]; ++i) {
      const std::int32_t pair = order.positions[static_cast<std::size_t>(i)];
      pairs[row] = pair;
      rows[pair] = static_cast<std::int32_t>(row++);
    }
  }
}

std::span<const std::int64_t> offsets_of(const ExpertFeedforwardState& state) {
  return {state.offsets.data<std::int64_t>(), static_cast<std::size_t>(state.offsets.numel())};
}

// to[i] = the token of the i-th of `pairs`, zeros for an added row.
template <class T>
void gather_tokens(const Rows<T>& tokens, const std::int32_t* pairs, std::int64_t slots, const Rows<T>& to) {
  for (std::int64_t i = 0; i < to.rows; ++i) {
    if (pairs[i] < 0)
      std::fill_n(to.row(i), to.cols, T{});
    else
      std::copy_n(tokens.row(pairs[i] / slots), to.cols, to.row(i));
  }
}

// out[n] = sum over k of factor(n, k) * expanded[row of (n, k)].
template <class T, class Factor>
void combine_slots(const Rows<T>& expanded, const std::int32_t* row_of_pair, std::int64_t slots, const Rows<T>& out,
                   const Factor& factor) {
  using Sum = accumulate_t<T>;
  parallel_for(out.rows, grain_for(out.cols * slots), [&](std::int64_t begin, std::int64_t end) {
    std::vector<Sum> sums(static_cast<std::size_t>(out.cols));
    for (std::int64_t n = begin; n < end; ++n) {
      std::fill(sums.begin(), sums.end(), Sum(0));
      for (std::int64_t k = 0; k < slots; ++k) {
        const T* const row = expanded.row(row_of_pair[n * slots + k]);
        const Sum scale = factor(n, k);
        for (std::size_t c = 0; c < sums.size(); ++c) sums[c] += scale * static_cast<Sum>(row[c]);
      }
      std::transform(sums.begin(), sums.end(), out.row(n), [](Sum v) { return T(v); });
    }
  });
}

// relu, and dropout: the row is elements first .. first + cols - 1 of the stream.
template <class T>
void rectify(T* h, std::int64_t cols, std::uint64_t first, const ExpertOptions& options) {
  using Sum = accumulate_t<T>;
  for (std::int64_t c = 0; c < cols; ++c) h[c] = T(Relu{}(static_cast<Sum>(h[c])));
  if (options.dropout > 0) cpu::dropout_row(cols, first, options.dropout, options.random, h, h);
}

// Integers in the order of the values, so that a partition of them is safe with NaN.
std::int32_t ordered(float v) {
  const auto bits = std::bit_cast<std::int32_t>(v);
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}
std::int64_t ordered(double v) {
  const auto bits = std::bit_cast<std::int64_t>(v);
  return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF);
}

// Sets to 0 the hidden units of a token whose gated value is below the hidden_k-th largest.
template <class T>
void keep_largest(const Rows<T>& hidden, const std::int32_t* row_of_pair, const Rows<accumulate_t<T>>& gates,
                  std::int64_t hidden_k) {
  using Sum = accumulate_t<T>;
  const std::int64_t slots = gates.cols, g = hidden.cols, all = slots * g;
  if (hidden_k >= all) return;
  parallel_for(gates.rows, grain_for(16 * all), [&](std::int64_t begin, std::int64_t end) {
    std::vector<decltype(ordered(Sum()))> keys(static_cast<std::size_t>(all));
    for (std::int64_t n = begin; n < end; ++n) {
      const auto row = [&](std::int64_t k) { return hidden.row(row_of_pair[n * slots + k]); };
      const auto key = [&](std::int64_t k, T h) { return ordered(gates.row(n)[k] * static_cast<Sum>(h)); };
      for (std::int64_t k = 0; k < slots; ++k)
        std::transform(row(k), row(k) + g, keys.begin() + k * g, [&](T h) { return key(k, h); });
      const auto last = keys.begin() + hidden_k - 1;
      std::nth_element(keys.begin(), last, keys.end(), std::greater<>());
      for (std::int64_t k = 0; k < slots; ++k)
        std::transform(row(k), row(k) + g, row(k), [&](T h) { return key(k, h) < *last ? T(Sum(0)) : h; });
    }
  });
}

template <class T>
void forward(const Tensor& x, const Tensor& gate, const ExpertOptions& options, Float32Products products,
             const Tensor& y, ExpertFeedforwardState& state) {
  using Sum = accumulate_t<T>;
  const Tensor gate_rows = rows_form(converted(gate, dtype_of<Sum>())), token_rows = rows_form(x);
  const std::int64_t d = x.size(1), g = state.w1.size(2), slots = gate.size(1);
  Tensor expanded_rows;
  state.hidden = Tensor::empty({state.pair_of_row.numel(), g}, x.dtype());
  const auto expanded = scratch_rows<T>(expanded_rows, state.pair_of_row.numel(), d);  // w2 applied, before the gate
  const auto in = rows_of<T>(token_rows), hidden = rows_of<T>(state.hidden), w1 = rows_of<T>(state.w1),
             w2 = rows_of<T>(state.w2);
  const auto gates = rows_of<Sum>(gate_rows);
  const std::int32_t* const pairs = state.pair_of_row.data<std::int32_t>();
  const auto tiles = cpu::row_tiles(offsets_of(state), kTileRows);
  const auto for_tiles = [&](const auto& body) {
    parallel_for(static_cast<std::int64_t>(tiles.size()), 1,
                 [&](std::int64_t i, std::int64_t) { body(tiles[static_cast<std::size_t>(i)]); });
  };
  const auto expand = [&](const cpu::RowTile& tile) {
    cpu::gemm(tile.rows(), d, g, matrix(hidden, tile.begin), matrix(w2, tile.group * g), expanded.row(tile.begin),
              expanded.stride, products);
  };
  for_tiles([&](const cpu::RowTile& tile) {
    const std::int64_t rows = tile.rows();
    Tensor gathered;
    Rows<T> tokens = scratch_rows<T>(gathered, std::min(kTileRows, expanded.rows), d);
    tokens.rows = rows;
    gather_tokens(in, pairs + tile.begin, slots, tokens);
    cpu::gemm(rows, g, d, matrix(tokens), matrix(w1, tile.group * d), hidden.row(tile.begin), hidden.stride, products);
    for (std::int64_t r = tile.begin; r < tile.end; ++r)  // an added row is zero, whatever is dropped of it
      rectify(hidden.row(r), g, static_cast<std::uint64_t>(std::max(pairs[r], 0)) * static_cast<std::uint64_t>(g),
              options);
    if (options.hidden_k == 0) expand(tile);
  });
  if (options.hidden_k > 0) {
    keep_largest(hidden, state.row_of_pair.data<std::int32_t>(), gates, options.hidden_k);
    for_tiles(expand);
  }
  combine_slots(expanded, state.row_of_pair.data<std::int32_t>(), slots, rows_of<T>(y),
                [&](std::int64_t n, std::int64_t k) { return gates.row(n)[k]; });
}

void forward_cpu(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                 const ExpertOptions& options, Float32Products products, const Tensor& y,
                 ExpertFeedforwardState& state) {
  visit_floating("expert_feedforward", x.dtype(), [&]<class T>(Type<T>) {
    sort_pairs(index, w1.size(0), cpu::row_granule<T>(), state);
    state.w1 = rows_form(converted(w1, x.dtype())).detach();
    state.w2 = rows_form(converted(w2, x.dtype())).detach();
    state.kept_scale = 1 / (1 - options.dropout);
    forward<T>(x, gate, options, products, y, state);
  });
}

// A run of one expert's rows and where its weight gradients are summed.
template <class Sum>
struct Unit {
  cpu::RowTile rows;
  Rows<Sum> dw1, dw2;  // [D, G], [G, D]
};

template <class T>
class BackwardPass {
  using Sum = accumulate_t<T>;

 public:
  BackwardPass(const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state, const Tensor& dy,
               Float32Products products, ExpertFeedforwardGradients& gradients)
      : d_(x.size(1)),
        g_(state.w1.size(2)),
        slots_(gate.size(1)),
        experts_(state.w1.size(0)),
        products_(products),
        x_owner_(rows_form(x)),
        dy_owner_(rows_form(dy)),
        gate_owner_(rows_form(converted(gate, dtype_of<Sum>()))),
        state_(state),
        gradients_(gradients) {
    gradients.x = Tensor::empty_like(x);
    gradients.gate = Tensor::empty(gate.shape(), dtype_of<Sum>());
    if (!gradients.w1.defined()) gradients.w1 = Tensor::empty(state.w1.shape(), dtype_of<Sum>());
    if (!gradients.w2.defined()) gradients.w2 = Tensor::empty(state.w2.shape(), dtype_of<Sum>());
    expanded_ = scratch_rows<T>(expanded_owner_, state.pair_of_row.numel(), d_);
  }

  void run() {
    make_units();
    // The longest first, so that no thread is left with a long one at the end.
    std::vector<std::size_t> order(units_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return units_[a].rows.rows() > units_[b].rows.rows(); });
    parallel_for(static_cast<std::int64_t>(order.size()), 1,
                 [&](std::int64_t i, std::int64_t) { run_unit(units_[order[static_cast<std::size_t>(i)]]); });
    add_partial_sums();
    combine_slots(expanded_, state_.row_of_pair.data<std::int32_t>(), slots_, rows_of<T>(gradients_.x),
                  [](std::int64_t, std::int64_t) { return Sum(1); });
  }

 private:
  // An expert's first unit sums into the result itself; one without rows still has a unit, which writes zeros. There
  // are as many further sums as any routing could need.
  void make_units() {
    const auto dw1 = rows_of<Sum>(gradients_.w1), dw2 = rows_of<Sum>(gradients_.w2);
    const std::int64_t further = expanded_.rows / kUnitRows;
    const auto sums1 = scratch_rows<Sum>(partial_owners_[0], further * d_, g_);
    const auto sums2 = scratch_rows<Sum>(partial_owners_[1], further * g_, d_);
    const auto offsets = offsets_of(state_);
    std::int64_t used = 0;
    for (std::int64_t e = 0; e < experts_; ++e) {
      const std::int64_t begin = offsets[static_cast<std::size_t>(e)], end = offsets[static_cast<std::size_t>(e) + 1];
      units_.push_back({{e, begin, std::min(end, begin + kUnitRows)},
                        {dw1.row(e * d_), d_, g_, dw1.stride},
                        {dw2.row(e * g_), g_, d_, dw2.stride}});
      for (std::int64_t at = begin + kUnitRows; at < end; at += kUnitRows, ++used)
        units_.push_back({{e, at, std::min(end, at + kUnitRows)},
                          {sums1.row(used * d_), d_, g_, sums1.stride},
                          {sums2.row(used * g_), g_, d_, sums2.stride}});
    }
  }

  void run_unit(const Unit<Sum>& unit) {
    const std::int64_t most = std::min(kTileRows, expanded_.rows);
    Tensor owners[5];
    const auto x = scratch_rows<T>(owners[0], most, d_), dy = scratch_rows<T>(owners[1], most, d_),
               gated = scratch_rows<T>(owners[2], most, g_), dh = scratch_rows<T>(owners[3], most, g_);
    const auto r = scratch_rows<Sum>(owners[4], most, g_);
    auto mode = cpu::GemmMode::overwrite;
    for (std::int64_t begin = unit.rows.begin; begin < unit.rows.end || mode == cpu::GemmMode::overwrite;
         begin += kTileRows) {
      const std::int64_t rows = std::min(kTileRows, unit.rows.end - begin), e = unit.rows.group;
      const std::int32_t* const pairs = state_.pair_of_row.data<std::int32_t>() + begin;
      gather_tokens(rows_of<T>(x_owner_), pairs, slots_, Rows<T>{x.data, rows, d_, x.stride});
      gather_tokens(rows_of<T>(dy_owner_), pairs, slots_, Rows<T>{dy.data, rows, d_, dy.stride});
      cpu::gemm(rows, g_, d_, matrix(dy), transposed(rows_of<T>(state_.w2), e * g_), r.data, r.stride, products_);
      for (std::int64_t i = 0; i < rows; ++i)
        through_gate(pairs[i], rows_of<T>(state_.hidden).row(begin + i), r.row(i), gated.row(i), dh.row(i));
      cpu::gemm(g_, d_, rows, transposed(gated), matrix(dy), unit.dw2.data, unit.dw2.stride, products_, mode);
      cpu::gemm(d_, g_, rows, transposed(x), matrix(dh), unit.dw1.data, unit.dw1.stride, products_, mode);
      cpu::gemm(rows, d_, g_, matrix(dh), transposed(rows_of<T>(state_.w1), e * d_), expanded_.row(begin),
                expanded_.stride, products_);
      mode = cpu::GemmMode::accumulate;
    }
  }

  // One row, r = dy w2ᵀ: dgate = <h, r>, gated = gate h, dh = gate r kept_scale where h > 0. An added row gets zeros.
  void through_gate(std::int32_t pair, const T* h, const Sum* r, T* gated, T* dh) {
    Sum gate = 0;
    if (pair >= 0) {
      gate = rows_of<Sum>(gate_owner_).row(pair / slots_)[pair % slots_];
      rows_of<Sum>(gradients_.gate).row(pair / slots_)[pair % slots_] =
          cpu::sum_over<Sum>(g_, [&](std::int64_t c) { return static_cast<Sum>(h[c]) * r[c]; });
    }
    const Sum factor = gate * static_cast<Sum>(state_.kept_scale);
    for (std::int64_t c = 0; c < g_; ++c) {
      const auto value = static_cast<Sum>(h[c]);
      gated[c] = T(gate * value);
      dh[c] = T(value > 0 ? factor * r[c] : Sum(0));
    }
  }

  void add_partial_sums() {
    const auto add = [](const Rows<Sum>& from, const Rows<Sum>& to) {
      for (std::int64_t row = 0; row < to.rows; ++row)
        for (std::int64_t c = 0; c < to.cols; ++c) to.row(row)[c] += from.row(row)[c];
    };
    parallel_for(experts_, 1, [&](std::int64_t e, std::int64_t) {
      const auto first = std::find_if(units_.begin(), units_.end(), [e](const auto& u) { return u.rows.group == e; });
      for (auto unit = first + 1; unit != units_.end() && unit->rows.group == e; ++unit) {
        add(unit->dw1, first->dw1);
        add(unit->dw2, first->dw2);
      }
    });
  }

  std::int64_t d_, g_, slots_, experts_;
  Float32Products products_;
  Tensor x_owner_, dy_owner_, gate_owner_, expanded_owner_;
  const ExpertFeedforwardState& state_;
  ExpertFeedforwardGradients& gradients_;
  Rows<T> expanded_;  // dx of every row
  std::vector<Unit<Sum>> units_;
  Tensor partial_owners_[2];
};

void backward_cpu(const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state, const Tensor& dy,
                  Float32Products products, ExpertFeedforwardGradients& gradients) {
  visit_floating("expert_feedforward", x.dtype(),
                 [&]<class T>(Type<T>) { BackwardPass<T>(x, gate, state, dy, products, gradients).run(); });
}

const bool on_cpu = expert_feedforward_kernel.add(DeviceKind::cpu, forward_cpu) &&
                    expert_feedforward_backward_kernel.add(DeviceKind::cpu, backward_cpu);

}  // namespace
}  // namespace weir
