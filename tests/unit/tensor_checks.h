// Comparisons of tensors that several test files use.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

// The largest |a - b|; infinite where a difference is not a number or the shapes differ.
inline double max_difference(const weir::Tensor& a, const weir::Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  const auto x = a.values(), y = b.values();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = std::abs(x[i] - y[i]);
    worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
  }
  return worst;
}

// Same shape, same dtype, same bits.
inline bool same_bits(const weir::Tensor& a, const weir::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const auto x = a.values(), y = b.values();
  return x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0;
}

inline void check_same_bits(const std::vector<weir::Tensor>& got, const std::vector<weir::Tensor>& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(got[i], expected[i]));
  }
}

// The message of the error that `call` throws; empty where it throws none.
template <class Call>
std::string error_message(Call&& call) {
  try {
    call();
  } catch (const weir::Error& error) {
    return error.what();
  }
  return {};
}
