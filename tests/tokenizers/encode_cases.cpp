// What Weir makes of many tokenizers, in one process. Called by the programs in Python beside it.
//
//     encode_cases FOLDER    for each line of FOLDER/cases, {"file": content of a tokenizer.json, "texts": [...]}, a
//     line of
//                            FOLDER/ours: [{"tokens": [...], "decoded": "..."}, ...] or {"error": "..."}
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "train/tokenizer/tokenizer.h"

using namespace weir;
using Json = nlohmann::ordered_json;

namespace {

Json results(const Json& item, const std::string& path) {
  std::ofstream(path, std::ios::binary) << item["file"].get_ref<const std::string&>();
  Json made = Json::array();
  try {
    const auto tokenizer = open_tokenizer(path);
    for (const Json& text : item["texts"]) {
      const auto tokens = tokenizer->encode(text.get_ref<const std::string&>());
      made.push_back({{"tokens", tokens}, {"decoded", tokenizer->decode(tokens)}});
    }
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
  return made;
}

}  // namespace

int main(int, char** arguments) {
  const std::string folder = arguments[1];
  std::ifstream cases(folder + "/cases");
  std::ofstream ours(folder + "/ours");
  for (std::string line; std::getline(cases, line);)
    ours << results(Json::parse(line), folder + "/case.json").dump(-1, ' ', false, Json::error_handler_t::replace)
         << '\n';
  return ours.flush() ? 0 : 1;
}
