// --device, as every command that computes has it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace weir {

inline void add_device_option(CLI::App& command, std::string& name) {
  command.add_option("--device", name, "where to compute: cpu, cuda or cuda:INDEX")->capture_default_str();
}

}  // namespace weir
