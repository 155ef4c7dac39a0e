#include "ops/grouped_matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/grouped.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, bool, Float32Products, const Tensor&)>
    grouped_matmul_kernel{"grouped_matmul", [](const Tensor& x, const Tensor& weight, auto... rest) {
                            return product_cost({x.size(0), weight.size(1), weight.size(2)}, x, weight, rest...);
                          }};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, Float32Products, const Tensor&)>
    grouped_matmul_weight_kernel{"grouped_matmul weight gradient", [](const Tensor& x, const Tensor& dy, auto... rest) {
                                   return product_cost({x.numel(), dy.size(1)}, x, dy, rest...);
                                 }};

namespace {

Tensor weight_product(const Tensor& x, const Tensor& dy, const Tensor& offsets, DType dtype, Float32Products products);

// x_e weight[e] or x_e weight[e]ᵀ; the gradients are the same two products again.
Tensor product(const Tensor& x, const Tensor& weight, const Tensor& offsets, bool transposed,
               Float32Products products) {
  const Tensor y = Tensor::empty({x.size(0), weight.size(transposed ? 1 : 2)}, x.dtype(), x.device());
  grouped_matmul_kernel(x.device(), x, weight, offsets, transposed, products, y);
  Backward back("grouped_matmul", {x, weight}, {y});
  back.input(0, [weight = back.keep(weight), offsets = back.keep(offsets), transposed, products](const Tensor& dy) {
    return product(dy, weight.get(), offsets.get(), !transposed, products);
  });
  back.input(1, [x = back.keep(x), offsets = back.keep(offsets), transposed, products,
                 dtype = weight.dtype()](const Tensor& dy) {
    return transposed ? weight_product(dy, x.get(), offsets.get(), dtype, products)
                      : weight_product(x.get(), dy, offsets.get(), dtype, products);
  });
  return y;
}

// dweight[e] = x_eᵀ dy_e.
Tensor weight_product(const Tensor& x, const Tensor& dy, const Tensor& offsets, DType dtype, Float32Products products) {
  const Tensor dweight = Tensor::empty({offsets.numel() - 1, x.size(1), dy.size(1)}, dtype, x.device());
  grouped_matmul_weight_kernel(x.device(), x, dy, offsets, products, dweight);
  Backward back("grouped_matmul weight gradient", {x, dy}, {dweight});
  back.input(0, [dy = back.keep(dy), offsets = back.keep(offsets), products](const Tensor& dd) {
    return product(dy.get(), dd, offsets.get(), true, products);
  });
  back.input(1, [x = back.keep(x), offsets = back.keep(offsets), products](const Tensor& dd) {
    return product(x.get(), dd, offsets.get(), false, products);
  });
  return dweight;
}

}  // namespace

Tensor grouped_matmul(const Tensor& x, const Tensor& weight, const Tensor& offsets, Float32Products products) {
  check_floating("grouped_matmul", "x", x);
  check_rank("grouped_matmul", "x", x, 2);
  check_rank("grouped_matmul", "weight", weight, 3);
  check_shape("grouped_matmul", "weight", weight, weight.shape().with(1, x.size(1)));
  if (!(x.dtype() == DType::bf16 && weight.dtype() == DType::float32)) check_same_dtype("grouped_matmul", x, weight);
  if (offsets.dtype() != DType::int64)
    throw ArgumentError(
        fmt::format("grouped_matmul: expected offsets of dtype int64, got {}", dtype_name(offsets.dtype())));
  check_shape("grouped_matmul", "offsets", offsets, {weight.size(0) + 1});
  return product(x, weight, offsets, false, products);
}

namespace {

constexpr std::int64_t kTileRows = 256;

std::vector<std::int64_t> checked_offsets(const Tensor& offsets, std::int64_t rows) {
  const Tensor tensor = rows_form(offsets);
  const auto view = rows_of<std::int64_t>(tensor);
  std::vector<std::int64_t> values(view.row(0), view.row(0) + view.cols);
  for (std::size_t e = 0; e < values.size(); ++e) {
    const std::int64_t least = e == 0 ? 0 : values[e - 1], most = e == 0 ? 0 : rows;
    if (values[e] < least || values[e] > most || (e + 1 == values.size() && values[e] != rows))
      throw ArgumentError(fmt::format(
          "grouped_matmul: offsets must rise from 0 to {}, the number of rows; offsets[{}] is {}", rows, e, values[e]));
  }
  return values;
}

// Rows begin .. begin + rows - 1 followed by zero rows up to the granule; in place where none are needed.
template <class T>
Tensor padded_rows(const Rows<T>& from, std::int64_t begin, std::int64_t rows) {
  const Tensor padded = Tensor::zeros({cpu::rounded_up(rows, cpu::row_granule<T>()), from.cols}, dtype_of<T>());
  const auto to = rows_of<T>(padded);
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(from.row(begin + r), from.cols, to.row(r));
  return padded;
}

template <class T>
void tile_product(const cpu::RowTile& tile, const Rows<T>& x, cpu::Matrix<T> weight, Float32Products products,
                  const Rows<T>& y) {
  const std::int64_t rows = tile.rows(), inner = x.cols, cols = y.cols;
  if (rows % cpu::row_granule<T>() == 0) {
    cpu::gemm(rows, cols, inner, cpu::Matrix<T>{x.row(tile.begin), x.stride}, weight, y.row(tile.begin), y.stride,
              products);
    return;
  }
  const Tensor input = padded_rows(x, tile.begin, rows), output = Tensor::empty({input.size(0), cols}, dtype_of<T>());
  const auto in = rows_of<T>(input), out = rows_of<T>(output);
  cpu::gemm(in.rows, cols, inner, cpu::Matrix<T>{in.data, in.stride}, weight, out.data, out.stride, products);
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(out.row(r), cols, y.row(tile.begin + r));
}

void grouped_matmul_cpu(const Tensor& x, const Tensor& weight, const Tensor& offsets, bool transposed,
                        Float32Products products, const Tensor& y) {
  const auto tiles = cpu::row_tiles(checked_offsets(offsets, x.size(0)), kTileRows);
  const Tensor input = rows_form(x), factors = rows_form(converted(weight, x.dtype()));
  visit_floating("grouped_matmul", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(input), out = rows_of<T>(y), w = rows_of<T>(factors);
    parallel_for(static_cast<std::int64_t>(tiles.size()), 1, [&](std::int64_t i, std::int64_t) {
      const cpu::RowTile& tile = tiles[static_cast<std::size_t>(i)];
      tile_product(tile, in, cpu::Matrix<T>{w.row(tile.group * weight.size(1)), w.stride, transposed}, products, out);
    });
  });
}

// The columns `first` .. of x_eᵀ dy_e, summed over chunks of rows.
template <class T, class Sum>
void weight_block(std::int64_t begin, std::int64_t end, const Rows<T>& x, const Rows<T>& dy, std::int64_t first,
                  Float32Products products, const Rows<Sum>& out) {
  auto mode = cpu::GemmMode::overwrite;
  for (std::int64_t row = begin; row < end || mode == cpu::GemmMode::overwrite; row += kTileRows) {
    const std::int64_t rows = std::min(kTileRows, end - row);
    cpu::Matrix<T> a{x.row(row) + first, x.stride, true}, b{dy.row(row), dy.stride};
    Tensor a_rows, b_rows;
    std::int64_t inner = rows;
    if (rows % cpu::row_granule<T>() != 0) {
      a_rows = padded_rows(Rows<T>{x.data + first, x.rows, out.rows, x.stride}, row, rows);
      b_rows = padded_rows(dy, row, rows);
      a = {a_rows.data<T>(), rows_of<T>(a_rows).stride, true};
      b = {b_rows.data<T>(), rows_of<T>(b_rows).stride};
      inner = a_rows.size(0);
    }
    cpu::gemm(out.rows, out.cols, inner, a, b, out.data, out.stride, products, mode);
    mode = cpu::GemmMode::accumulate;
  }
}

void grouped_matmul_weight_cpu(const Tensor& x, const Tensor& dy, const Tensor& offsets, Float32Products products,
                               const Tensor& dweight) {
  constexpr std::int64_t kBlock = 256;  // rows of dweight[e] that one item of work computes
  const std::vector<std::int64_t> bounds = checked_offsets(offsets, x.size(0));
  const Tensor input = rows_form(x), gradient = rows_form(converted(dy, x.dtype()));
  visit_floating("grouped_matmul", x.dtype(), [&]<class T>(Type<T>) {
    using Sum = accumulate_t<T>;
    const bool direct = dweight.dtype() == dtype_of<Sum>();
    const Tensor sums = direct ? dweight : Tensor::empty(dweight.shape(), dtype_of<Sum>(), dweight.device());
    const auto in = rows_of<T>(input), dout = rows_of<T>(gradient);
    const auto out = rows_of<Sum>(sums);
    const std::int64_t blocks = (in.cols + kBlock - 1) / kBlock;
    parallel_for(blocks * (offsets.numel() - 1), 1, [&](std::int64_t item, std::int64_t) {
      const std::int64_t e = item / blocks, first = item % blocks * kBlock, rows = std::min(kBlock, in.cols - first);
      weight_block(bounds[static_cast<std::size_t>(e)], bounds[static_cast<std::size_t>(e) + 1], in, dout, first,
                   products, Rows<Sum>{out.row(e * in.cols + first), rows, out.cols, out.stride});
    });
    if (!direct) copy_into(sums, dweight);
  });
}

const bool on_cpu = grouped_matmul_kernel.add(DeviceKind::cpu, grouped_matmul_cpu) &&
                    grouped_matmul_weight_kernel.add(DeviceKind::cpu, grouped_matmul_weight_cpu);

// One element at a time: no copy from the host, so that a device can record it.
Tensor offsets_on(Device device, const std::vector<double>& offsets) {
  const Tensor t = Tensor::empty({static_cast<std::int64_t>(offsets.size())}, DType::int64, device);
  for (std::size_t i = 0; i < offsets.size(); ++i) fill(t.strided({}, {}, static_cast<std::int64_t>(i)), offsets[i]);
  return t;
}

// `offsets` is no input of the sample, so that all inputs of the size-one sample have one element.
Sample grouped_sample(const std::string& name, std::int64_t d, std::int64_t g, const std::vector<double>& offsets,
                      Float32Products products = Float32Products::ieee) {
  const auto groups = static_cast<std::int64_t>(offsets.size()) - 1, rows = static_cast<std::int64_t>(offsets.back());
  return {name,
          {random_factor({rows, d}, 31, products), random_factor({groups, d, g}, 32, products)},
          [offsets, products](std::span<const Tensor> in) {
            return std::vector{grouped_matmul(in[0], in[1], offsets_on(in[0].device(), offsets), products)};
          },
          [offsets, rows, d, g](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values(), w = in[1].values();
            std::vector<double> y;
            for (std::int64_t r = 0, e = 0; r < rows; ++r) {
              while (r >= static_cast<std::int64_t>(offsets[static_cast<std::size_t>(e) + 1])) ++e;
              for (std::int64_t j = 0; j < g; ++j) {
                double total = 0;
                for (std::int64_t i = 0; i < d; ++i)
                  total += x[static_cast<std::size_t>(r * d + i)] * w[static_cast<std::size_t>((e * d + i) * g + j)];
                y.push_back(total);
              }
            }
            return std::vector{Tensor::from_values({rows, g}, y)};
          }};
}

const OpRegistration registration{{
    .name = "grouped_matmul",
    .source = __FILE__,
    .signature = "grouped_matmul(x, weight, offsets, Float32Products = ieee)",
    .summary = "y[r] = x[r] weight[e] for the rows r of group e: rows sorted by group, one matrix per group",
    .samples =
        [] {
          return std::vector<Sample>{
              grouped_sample("usual", 16, 8, {0, 32, 40, 64}),
              grouped_sample("odd", 5, 7, {0, 3, 14, 15}),
              grouped_sample("empty groups", 4, 6, {0, 0, 9, 9, 9}),
              grouped_sample("tiles", 9, 5, {0, 1, 610}),
              grouped_sample("wide", 300, 3, {0, 4, 9}),
              grouped_sample("tf32", 5, 7, {0, 0, 3, 14, 15}, Float32Products::tf32),
              grouped_sample("tf32, tiles", 140, 130, {0, 1, 300}, Float32Products::tf32),
              grouped_sample("size one", 1, 1, {0, 1}),
              grouped_sample("no rows", 4, 3, {0, 0, 0}),
              grouped_sample("no columns", 0, 3, {0, 1, 3}),
          };
        },
    .large =
        [] {
          return grouped_sample("large", 412, 128, {0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096});
        },
    .bad_samples =
        [] {
          const auto call = [](std::int64_t d, DType weight, const std::vector<double>& offsets) {
            return [=] {
              grouped_matmul(Tensor::zeros({4, 3}, DType::float32), Tensor::zeros({2, d, 5}, weight),
                             Tensor::from_values({static_cast<std::int64_t>(offsets.size())}, offsets, DType::int64));
            };
          };
          return std::vector<BadSample>{
              {"inner", call(2, DType::float32, {0, 2, 4}),
               "grouped_matmul: expected weight of shape [2, 3, 5], got [2, 2, 5]"},
              {"dtype", call(3, DType::float64, {0, 2, 4}), "grouped_matmul: expected one dtype on both sides"},
              {"offsets count", call(3, DType::float32, {0, 4}),
               "grouped_matmul: expected offsets of shape [3], got [2]"},
              {"offsets fall", call(3, DType::float32, {0, 5, 4}), "offsets must rise from 0 to 4"},
              {"offsets end", call(3, DType::float32, {0, 2, 3}), "offsets[2] is 3"},
              {"offsets begin", call(3, DType::float32, {1, 2, 4}), "offsets[0] is 1"}};
        },
    .tolerance = {.float32 = 2e-5},
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
