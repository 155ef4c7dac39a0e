// The fused experts of ops/expert_feedforward.h on a GPU. Rows are (token, slot) pairs, sorted by expert on the device;
// nothing is padded, and the host never learns how many rows an expert has.
//
//   forward    hidden = relu(x[token] w1)          rows gathered on the way; dropout in the same pass
//              expanded = gate (hidden w2)
//              y[token] = the sum of its rows of expanded, in the order of the slots
//   backward   r = dy[token] w2ᵀ                   never written; from it, in the same pass:
//              dgate = <hidden, r>, gated = gate hidden, dhidden = gate r where hidden > 0
//              dw2 = gatedᵀ dy[token], dw1 = x[token]ᵀ dhidden
//              dx[token] = the sum of its rows of dhidden w1ᵀ
#include "ops/expert_feedforward.h"

#include "cuda/grouped_gemm.cuh"
#include "cuda/keep.cuh"
#include "cuda/reduce.cuh"
#include "cuda/warp_top_k.cuh"
#include "ops/cpu/keep.h"
#include "ops/cpu/kth_largest.h"
#include "ops/relu.h"
#include "ops/sort_by_expert.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

// A number for each pair, n * slots + k: [N, slots].
template <class Sum>
struct OfPairs {
  Rows<Sum> rows;

  __device__ Sum& operator[](std::int32_t pair) const {
    const auto slots = static_cast<std::int32_t>(rows.cols);
    return rows.row(pair / slots)[pair % slots];
  }
};

// --- epilogues of the products -------------------------------------------------------------------------------------

// relu, and dropout where `threshold` is not 0: the row is elements pair * G .. of the stream.
template <class T>
struct Rectify {
  Rows<T> hidden;
  const std::int32_t* pairs;
  std::uint32_t threshold;
  accumulate_t<T> kept_scale;
  RandomStream random;

  template <class Sum, int n>
  __device__ void operator()(std::int64_t row, std::int64_t col, int count, Sum (&values)[n]) const {
    if (count == 0) return;
    for (int i = 0; i < n; ++i) values[i] = Relu{}(static_cast<Sum>(T(values[i])));
    if (threshold != 0) {
      const auto first = static_cast<std::uint64_t>(pairs[row] * hidden.cols + col);
      const unsigned keep = kept<n>(random.settled(), first, threshold);
      for (int i = 0; i < n; ++i) values[i] = (keep >> i & 1) != 0 ? values[i] * kept_scale : Sum(0);
    }
    store_sums(hidden.row(row) + col, count, values);
  }
};

template <class T>
struct Gate {
  Rows<T> expanded;
  const std::int32_t* pairs;
  OfPairs<accumulate_t<T>> gates;

  template <class Sum, int n>
  __device__ void operator()(std::int64_t row, std::int64_t col, int count, Sum (&values)[n]) const {
    if (count == 0) return;
    const Sum gate = gates[pairs[row]];
    for (int i = 0; i < n; ++i) values[i] *= gate;
    store_sums(expanded.row(row) + col, count, values);
  }
};

// Of values r: <hidden, r> over the columns of a tile, and what the other products need.
template <class T>
struct ThroughGate {
  Rows<T> hidden, gated, dhidden;
  const std::int32_t* pairs;
  OfPairs<accumulate_t<T>> gates;
  accumulate_t<T> kept_scale;
  Rows<accumulate_t<T>> products;  // [tiles across, rows]
  std::int64_t tile_cols;

  template <class Sum, int n>
  __device__ void operator()(std::int64_t row, std::int64_t col, int count, Sum (&values)[n]) const {
    Sum product = 0;
    if (count > 0) {
      const Sum gate = gates[pairs[row]], factor = gate * kept_scale;
      const auto h = load_neighbours<n>(hidden.row(row) + col, count);
      Sum after[n];
      for (int i = 0; i < n; ++i) {
        const auto value = i < count ? static_cast<Sum>(h.values[i]) : Sum(0);
        product += value * values[i];
        after[i] = gate * value;
        values[i] = value > 0 ? factor * values[i] : Sum(0);
      }
      store_sums(gated.row(row) + col, count, after);
      store_sums(dhidden.row(row) + col, count, values);
    }
    product = reduce_lanes<16>(0xffffffffu, product, Add{});
    if (count > 0 && col % tile_cols == 0) products.row(col / tile_cols)[row] = product;
  }
};

// --- smaller kernels -----------------------------------------------------------------------------------------------

__global__ void invert(const std::int32_t* pair_of_row, std::int64_t count, std::int32_t* row_of_pair) {
  for (std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; row < count;
       row += std::int64_t{gridDim.x} * kThreads)
    row_of_pair[pair_of_row[row]] = static_cast<std::int32_t>(row);
}

// Sets to 0 the hidden units of a token whose gated value is below the hidden_k-th largest; a warp per token.
template <class T>
__global__ void keep_largest(Rows<T> hidden, const std::int32_t* row_of_pair, OfPairs<accumulate_t<T>> gates,
                             int hidden_k, int warps) {
  using Sum = accumulate_t<T>;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, units = static_cast<int>(hidden.cols),
            all = static_cast<int>(gates.rows.cols) * units;
  for (std::int64_t n = std::int64_t{blockIdx.x} * warps + warp; n < gates.rows.rows;
       n += std::int64_t{gridDim.x} * warps) {
    const auto unit = [&](int i) -> T& { return hidden.row(row_of_pair[n * gates.rows.cols + i / units])[i % units]; };
    const auto key = [&](int i) { return cpu::order_key(gates.rows.row(n)[i / units] * static_cast<Sum>(unit(i))); };
    const auto least = warp_kth_largest<cpu::OrderKey<Sum>>(all, hidden_k, key);
    for (int i = warp_lane(); i < all; i += kWarp)
      if (key(i) < least) unit(i) = T(Sum(0));
  }
}

// out[n] = the sum of token n's rows of `expanded`, by slots.
template <class T>
__global__ void combine_slots(Rows<T> expanded, const std::int32_t* row_of_pair, std::int64_t slots, Rows<T> out) {
  using Sum = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const std::int64_t packs = (out.cols + n - 1) / n;
  for (std::int64_t item = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; item < out.rows * packs;
       item += std::int64_t{gridDim.x} * kThreads) {
    const std::int64_t token = item / packs, col = (item - token * packs) * n;
    const int count = static_cast<int>(out.cols - col < n ? out.cols - col : n);
    Sum sums[n] = {};
    for (std::int64_t k = 0; k < slots; ++k) {
      const auto pack = load_pack<T, n>(expanded.row(row_of_pair[token * slots + k]) + col, 1, count, true);
      for (int i = 0; i < n; ++i) sums[i] += static_cast<Sum>(pack.values[i]);
    }
    store_sums(out.row(token) + col, count, sums);
  }
}

// dgate[pair] = the sum of its row's products, tile by tile.
template <class Sum>
__global__ void add_gate_products(Rows<Sum> products, const std::int32_t* pairs, OfPairs<Sum> dgate) {
  for (std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; row < products.cols;
       row += std::int64_t{gridDim.x} * kThreads) {
    Sum sum = 0;
    for (std::int64_t tile = 0; tile < products.rows; ++tile) sum += products.row(tile)[row];
    dgate[pairs[row]] = sum;
  }
}

// --- the op --------------------------------------------------------------------------------------------------------

void sort_pairs(const Tensor& index, std::int64_t experts, ExpertFeedforwardState& state) {
  const Device device = index.device();
  const auto fresh = [&](std::int64_t count, DType dtype) { return Tensor::empty({count}, dtype, device); };
  const ExpertOrder order{fresh(index.numel(), DType::int32), fresh(index.numel(), DType::int32),
                          fresh(experts + 1, DType::int64)};
  sort_by_expert_kernel(device, index, order);
  state.pair_of_row = order.pairs;
  state.offsets = order.offsets;
  state.row_of_pair = fresh(index.numel(), DType::int32);
  launch<invert>({blocks_for(index.numel(), kThreads), kThreads}, stream_of(device), order.pairs.data<std::int32_t>(),
                 index.numel(), state.row_of_pair.data<std::int32_t>());
}

template <class T>
GatheredRows<T> tokens_of(const Tensor& rows, const ExpertFeedforwardState& state, std::int64_t slots) {
  return {rows_of<T>(rows), state.pair_of_row.data<std::int32_t>(),
          static_cast<std::int32_t>(std::max<std::int64_t>(slots, 1))};
}

template <class T>
GroupedMatrices<T> matrices(const Tensor& weight) {
  return {rows_of<T>(weight), weight.size(1)};
}

template <class T>
void combine(const Tensor& expanded, const ExpertFeedforwardState& state, std::int64_t slots, const Tensor& out) {
  if (out.numel() == 0) return;
  const auto rows = rows_of<T>(out);
  launch<combine_slots<T>>({blocks_for(rows.rows * ((rows.cols + kPack<T> - 1) / kPack<T>), kThreads), kThreads},
                           stream_of(out.device()), rows_of<T>(expanded), state.row_of_pair.data<std::int32_t>(), slots,
                           rows);
}

template <class Tiles, class T>
void forward(const Tensor& x, const Tensor& gate, const ExpertOptions& options, const Tensor& y,
             ExpertFeedforwardState& state) {
  using Sum = accumulate_t<T>;
  const Device device = x.device();
  const Tensor gate_rows = rows_form(converted(gate, dtype_of<Sum>())), token_rows = aligned_rows<T>(x);
  const std::int64_t pairs = state.pair_of_row.numel(), slots = gate.size(1);
  state.hidden = Tensor::empty({pairs, state.w1.size(2)}, x.dtype(), device);
  const Tensor expanded = Tensor::empty({pairs, x.size(1)}, x.dtype(), device);
  const auto hidden = rows_of<T>(state.hidden);
  const std::int32_t* const pair_of_row = state.pair_of_row.data<std::int32_t>();
  const OfPairs<Sum> gates{rows_of<Sum>(gate_rows)};
  const RowTiles tiles(state.offsets, pairs, Tiles::kRows, 0);
  multiply_rows<Tiles, false>(
      device, tokens_of<T>(token_rows, state, slots), matrices<T>(state.w1), tiles,
      Rectify<T>{hidden, pair_of_row, options.dropout > 0 ? cpu::keep_threshold(options.dropout) : 0,
                 static_cast<Sum>(state.kept_scale), options.random});
  if (options.hidden_k > 0 && options.hidden_k < slots * hidden.cols) {
    const WarpLaunch warps = warp_launch(device, gate.size(0), 0);
    launch<keep_largest<T>>(warps.shape, stream_of(device), hidden, state.row_of_pair.data<std::int32_t>(), gates,
                            static_cast<int>(options.hidden_k), warps.scratch.warps);
  }
  multiply_rows<Tiles, false, T>(device, {hidden}, matrices<T>(state.w2), tiles,
                                 Gate<T>{rows_of<T>(expanded), pair_of_row, gates});
  combine<T>(expanded, state, slots, y);
}

void expert_feedforward(const Tensor& x, const Tensor& gate, const Tensor& index, const Tensor& w1, const Tensor& w2,
                        const ExpertOptions& options, Float32Products products, const Tensor& y,
                        ExpertFeedforwardState& state) {
  visit_floating("expert_feedforward", x.dtype(), [&]<class T>(Type<T>) {
    sort_pairs(index, w1.size(0), state);
    state.w1 = aligned_rows<T>(converted(w1, x.dtype())).detach();
    state.w2 = aligned_rows<T>(converted(w2, x.dtype())).detach();
    state.kept_scale = 1 / (1 - options.dropout);
    with_tiles<T>(products, [&]<class Tiles>(Type<Tiles>) { forward<Tiles, T>(x, gate, options, y, state); });
  });
}

template <class Tiles, class T>
void backward(const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state, const Tensor& dy,
              ExpertFeedforwardGradients& gradients) {
  using Sum = accumulate_t<T>;
  const Device device = x.device();
  const DType sum = dtype_of<Sum>();
  const std::int64_t pairs = state.pair_of_row.numel(), slots = gate.size(1), units = state.hidden.size(1);
  gradients.x = Tensor::empty_like(x);
  gradients.gate = Tensor::empty(gate.shape(), sum, device);
  if (!gradients.w1.defined()) gradients.w1 = Tensor::empty(state.w1.shape(), sum, device);
  if (!gradients.w2.defined()) gradients.w2 = Tensor::empty(state.w2.shape(), sum, device);
  const Tensor gate_rows = rows_form(converted(gate, sum)), x_rows = aligned_rows<T>(x), dy_rows = aligned_rows<T>(dy);
  const Tensor gated = Tensor::empty_like(state.hidden), dhidden = Tensor::empty_like(state.hidden);
  const Tensor products = Tensor::empty({(units + Tiles::kCols - 1) / Tiles::kCols, pairs}, sum, device);
  const std::int32_t* const pair_of_row = state.pair_of_row.data<std::int32_t>();
  const RowTiles tiles(state.offsets, pairs, Tiles::kRows, 0);
  multiply_rows<Tiles, true>(device, tokens_of<T>(dy_rows, state, slots), matrices<T>(state.w2), tiles,
                             ThroughGate<T>{rows_of<T>(state.hidden),
                                            rows_of<T>(gated),
                                            rows_of<T>(dhidden),
                                            pair_of_row,
                                            {rows_of<Sum>(gate_rows)},
                                            static_cast<Sum>(state.kept_scale),
                                            rows_of<Sum>(products),
                                            Tiles::kCols});
  launch<add_gate_products<Sum>>({blocks_for(pairs, kThreads), kThreads}, stream_of(device), rows_of<Sum>(products),
                                 pair_of_row, OfPairs<Sum>{rows_of<Sum>(gradients.gate)});
  multiply_groups<Tiles, T>({rows_of<T>(gated)}, tokens_of<T>(dy_rows, state, slots), state.offsets, pairs,
                            gradients.w2);
  multiply_groups<Tiles, T>(tokens_of<T>(x_rows, state, slots), {rows_of<T>(dhidden)}, state.offsets, pairs,
                            gradients.w1);
  const Tensor expanded = Tensor::empty({pairs, x.size(1)}, x.dtype(), device);
  multiply_rows<Tiles, true, T>(device, {rows_of<T>(dhidden)}, matrices<T>(state.w1), tiles,
                                Store<T>{rows_of<T>(expanded)});
  combine<T>(expanded, state, slots, gradients.x);
}

void expert_feedforward_backward(const Tensor& x, const Tensor& gate, const ExpertFeedforwardState& state,
                                 const Tensor& dy, Float32Products products, ExpertFeedforwardGradients& gradients) {
  visit_floating("expert_feedforward", x.dtype(), [&]<class T>(Type<T>) {
    with_tiles<T>(products, [&]<class Tiles>(Type<Tiles>) { backward<Tiles, T>(x, gate, state, dy, gradients); });
  });
}

const bool registered = expert_feedforward_kernel.add(DeviceKind::cuda, expert_feedforward) &&
                        expert_feedforward_backward_kernel.add(DeviceKind::cuda, expert_feedforward_backward);

}  // namespace
}  // namespace weir::cuda
