// Tensors: layout, views, copies, conversion, memory.
#include <doctest/doctest.h>

#include "core/tensor.h"

using namespace weir;

TEST_CASE("rows are padded to 16 bytes and the pad is zero") {
  const Tensor t = Tensor::full({3, 41}, 1.0, DType::bf16);
  CHECK(t.strides() == Strides{48, 1});
  for (int r = 0; r < 3; ++r)
    for (int c = 41; c < 48; ++c) CHECK(t.data<bf16>()[r * 48 + c].bits == 0);
  CHECK(Tensor::empty({2, 412}, DType::bf16).strides() == Strides{416, 1});
  CHECK(Tensor::empty({2, 412}, DType::float32).strides() == Strides{412, 1});
}

TEST_CASE("views share storage and keep order") {
  const Tensor t = Tensor::from_values({2, 3}, std::vector<double>{0, 1, 2, 3, 4, 5});
  CHECK(transpose_view(t, 0, 1).values() == std::vector<double>{0, 3, 1, 4, 2, 5});
  CHECK(slice_view(t, 1, 1, 3).values() == std::vector<double>{1, 2, 4, 5});
  CHECK(broadcast_view(slice_view(t, 0, 0, 1), {2, 3}).values() == std::vector<double>{0, 1, 2, 0, 1, 2});
  CHECK_FALSE(reshape_view(t, {6}).has_value());  // the pad is in the way: 3 float64 take 4
  CHECK(is_rows_form(t));
  CHECK_FALSE(is_rows_form(transpose_view(t, 0, 1)));
  CHECK(rows_form(transpose_view(t, 0, 1)).values() == std::vector<double>{0, 3, 1, 4, 2, 5});
}

TEST_CASE("reshape is a view wherever memory allows") {
  const Tensor t = Tensor::zeros({4, 2, 8}, DType::float32);
  CHECK(reshape_view(t, {64}).has_value());
  CHECK(reshape_view(t, {8, 8})->strides() == Strides{8, 1});
  CHECK(reshape_view(t, {4, 1, 2, 2, 4}).has_value());
  CHECK(reshape_view(t, {1, 64, 1}).has_value());
  const Tensor wide = Tensor::zeros({4, 10}, DType::float32);  // stride 12
  CHECK(reshape_view(wide, {4, 2, 5})->strides() == Strides{12, 5, 1});
  CHECK(reshape_view(wide, {2, 2, 10})->strides() == Strides{24, 12, 1});
  CHECK_FALSE(reshape_view(wide, {40}).has_value());
  CHECK(reshape_view(Tensor::zeros({1, 1}, DType::float32), {}).has_value());
  CHECK(reshape_view(Tensor::zeros({}, DType::float32), {1, 1}).has_value());
}

TEST_CASE("bf16 rounds to nearest even") {
  CHECK(bf16(1.00390625f).bits == 0x3f80);  // half way, even below
  CHECK(bf16(1.01171875f).bits == 0x3f82);  // half way, even above
  CHECK(bf16(std::bit_cast<float>(0x7fc00001u)).bits == 0x7fff);
}

TEST_CASE("blocks are reused and absurd requests are refused") {
  const auto before = allocator({}).statistics().system_allocations;
  { const Tensor a = Tensor::empty({1000, 1000}, DType::float32); }
  const auto middle = allocator({}).statistics().system_allocations;
  { const Tensor b = Tensor::empty({1000, 990}, DType::float32); }
  CHECK(allocator({}).statistics().system_allocations == middle);
  CHECK(middle <= before + 1);
  CHECK_THROWS_AS(Tensor::empty({1 << 30, 1 << 14}, DType::float64), RunError);
  CHECK_THROWS_AS(Tensor::empty({-1}, DType::float64), ArgumentError);
  CHECK_THROWS_AS(Tensor::empty({std::int64_t{1} << 40, 1 << 20}, DType::float64), ArgumentError);
}

TEST_CASE("copies and fills of long rows reach every element and no pad") {
  constexpr std::int64_t kRows = 3, kCols = 9001;  // more than one piece of work each
  std::vector<double> values(kRows * kCols);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % 251);
  const auto at = [&](std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * kCols + c)]; };
  for (const DType dtype : {DType::float64, DType::float32, DType::bf16, DType::int32}) {
    CAPTURE(dtype_size(dtype));
    const Tensor t = Tensor::from_values({kRows, kCols}, values, dtype);
    CHECK(t.values() == values);
    const auto turned = converted(clone(transpose_view(t, 0, 1)), DType::float32).values();
    std::size_t wrong = 0;
    for (std::int64_t c = 0; c < kCols; ++c)
      for (std::int64_t r = 0; r < kRows; ++r) wrong += turned[static_cast<std::size_t>(c * kRows + r)] != at(r, c);
    CHECK(wrong == 0);
    fill(slice_view(transpose_view(t, 0, 1), 1, 1, 2), 77);  // a row, as a column
    fill(slice_view(t, 1, kCols - 1, kCols), 99);
    const auto filled = t.values();
    for (std::int64_t r = 0; r < kRows; ++r)
      for (std::int64_t c = 0; c < kCols; ++c)
        wrong += filled[static_cast<std::size_t>(r * kCols + c)] != (c == kCols - 1 ? 99 : r == 1 ? 77 : at(r, c));
    CHECK(wrong == 0);
    fill(t, 5);
    const std::int64_t padded = padded_cols(kCols, dtype);
    REQUIRE(padded > kCols);
    const auto whole = t.strided({kRows, padded}, padded_strides({kRows, padded}, dtype)).values();
    for (std::size_t i = 0; i < whole.size(); ++i)
      wrong += whole[i] != (static_cast<std::int64_t>(i) % padded < kCols ? 5 : 0);
    CHECK(wrong == 0);
  }
}

TEST_CASE("what has no elements has no address, wherever a view of it begins") {
  const Tensor nothing = Tensor::empty({0, 8}, DType::float32);
  CHECK(slice_view(nothing, 1, 3, 5).raw() == nullptr);
  const Rows<float> rows = rows_of<float>(slice_view(Tensor::empty({3, 8}, DType::float32), 1, 3, 3));
  CHECK(rows.stride > 0);
  CHECK(rows.row(2) == nullptr);
}
