// Initial values of router [E, D], w1 [E, D, G] and w2 [E, G, D].
#include <cmath>

#include "models/initialise.h"
#include "models/routing/part.h"

namespace weir::routing {
namespace {

// The whole layer's E * G hidden units feed an output, as in the dense layer of that size.
InitialValues dense_equivalent(const ModelConfig& model, const FeedforwardConfig& config) {
  const double from_token = model.matrix_std(model.d_model);
  return {initialise::normalised_rows(from_token), initialise::normal(from_token),
          initialise::normal(model.matrix_std(config.experts * config.expert_size))};
}

// One expert's G hidden units feed an output.
InitialValues standard(const ModelConfig& model, const FeedforwardConfig& config) {
  const double from_token = model.matrix_std(model.d_model);
  return {initialise::normalised_rows(from_token), initialise::normal(from_token),
          initialise::normal(model.matrix_std(config.expert_size))};
}

// As `standard`, all smaller by sqrt(0.1), and the router's rows as they are drawn (Fedus et al. 2021).
InitialValues small(const ModelConfig& model, const FeedforwardConfig& config) {
  const double factor = std::sqrt(0.1), from_token = factor * model.matrix_std(model.d_model);
  return {initialise::normal(from_token), initialise::normal(from_token),
          initialise::normal(factor * model.matrix_std(config.expert_size))};
}

const bool added =
    registry<Initialisation>().add({"dense-equivalent", "as in a dense layer of the same size", dense_equivalent}) &&
    registry<Initialisation>().add({"standard", "by the fan-in of one expert", standard}) &&
    registry<Initialisation>().add(
        {"switch", "standard times sqrt(0.1), for the router and the first matrix too, as the Switch Transformer's",
         small});

}  // namespace
}  // namespace weir::routing
