#include "ops/cpu/attention_rows.h"

#include <algorithm>
#include <limits>

#include "ops/cpu/math.h"

namespace weir::cpu::attention {

template <class Sum>
ExpSum<Sum> exp_row(Sum* scores, std::int64_t n, Sum scale) {
  const std::int64_t whole = rounded_up(n);
  Sum largest = -std::numeric_limits<Sum>::infinity(), total = 0;
  std::fill(scores + n, scores + whole, scores[0]);
#pragma omp simd reduction(max : largest)
  for (std::int64_t j = 0; j < whole; ++j) {
    const Sum scaled = scores[j] * scale;
    scores[j] = scaled;
    largest = largest < scaled ? scaled : largest;
  }
  std::fill(scores + n, scores + whole, -std::numeric_limits<Sum>::infinity());
#pragma omp simd reduction(+ : total)
  for (std::int64_t j = 0; j < whole; ++j) {
    scores[j] = cpu::exp(scores[j] - largest);
    total += scores[j];
  }
  return {largest, total};
}

template ExpSum<float> exp_row(float* scores, std::int64_t n, float scale);
template ExpSum<double> exp_row(double* scores, std::int64_t n, double scale);

}  // namespace weir::cpu::attention
