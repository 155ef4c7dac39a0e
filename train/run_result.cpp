#include "train/run_result.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace weir {
namespace {

std::optional<double> number(const nlohmann::json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_number()) return {};
  const double value = found->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// Perplexity is logged only where tokens are not bytes; bits per byte are then those of the text behind the tokens.
void add_line(RunResult& result, const nlohmann::json& line) {
  const auto step = line.find("step");
  if (step == line.end() || !step->is_number_integer()) return;
  const auto at = step->get<std::int64_t>();
  result.last_step = std::max(result.last_step, at);
  const auto nats = number(line, "valid/loss");
  if (!nats) return;
  ValidationResult found{at, *nats, {}};
  if (!line.contains("valid/perplexity")) found.bits_per_byte = number(line, "valid/bits_per_byte");
  if (!result.last || at >= result.last->step) result.last = found;
  if (!result.best || *nats < result.best->nats_per_token) result.best = found;
}

}  // namespace

double ValidationResult::value() const { return bits_per_byte ? *bits_per_byte : std::exp(nats_per_token); }

const char* ValidationResult::unit() const { return bits_per_byte ? "bpb" : "ppl"; }

RunResult read_run_result(const std::string& metrics_file) {
  RunResult result;
  std::ifstream file(metrics_file, std::ios::binary);
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object()) add_line(result, json);
  }
  return result;
}

}  // namespace weir
