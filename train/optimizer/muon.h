// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon, and the code at github.com/KellerJordan/Muon): momentum
// whose direction is made orthogonal, matrix by matrix, before it is taken. Embeddings, the output projection, routers
// and vectors get AdamW.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/fields.h"
#include "ops/adamw_update.h"
#include "train/optimizer/optimizer.h"

namespace weir {

// The section [muon].
struct MuonConfig {
  double momentum = 0.95;
  bool nesterov = true;
  std::int64_t ns_steps = 5;
  // Of optimizer.lr, which is AdamW's. The published rates, 0.02 beside 3e-4, are 67 times apart; the quick start
  // learns faster than with AdamW at 20, whether its lr is 2.5e-4 or 3e-3.
  double rate = 20;
  std::string adamw = "*embed*, output*, *router*, *.sel_*, *keys*, *values, *.u, *.v";
  std::string products = "float32";

  void visit(FieldVisitor& v);
  bool operator==(const MuonConfig&) const = default;
};

// Newton and Schulz's iteration of degree five, on each matrix g [..., m, n]: its singular values come near 1 (0.7 to
// 1.2 with five iterations), its singular vectors stay.
//   x = g / (|g| + 1e-7)      then each time, with a = x xᵀ:  x = 3.4445 x + (-4.7750 a + 2.0315 a²) x
// Products of float32 are computed in bf16 where `in_bf16`.
Tensor newton_schulz(const Tensor& g, std::int64_t iterations, bool in_bf16 = false);

class Muon : public Optimizer {
 public:
  Muon(const ParameterSet& parameters, const MuonConfig& config, const AdamWSettings& adamw,
       const ParameterGroups& groups = {});

 private:
  void update(const Part& part, const Tensor& factor) override;
  void update_matrices(const Part& part, const Tensor& factor);

  MuonConfig config_;
  AdamWSettings adamw_;
  Tensor backwards_;  // -1; float64 of rank 0
};

}  // namespace weir
