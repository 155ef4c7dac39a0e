// How messages name runs: commands that continue one, and names for those that stand side by side.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace weir {

// Of each folder as much of the end of its path as tells it from the others: "mine", or "a/mine" where another one is
// "b/mine". A folder that is named twice gets a number.
std::vector<std::string> folder_names(std::span<const std::string> folders);

// The names, each followed by its folder in parentheses where another run has the same name.
std::vector<std::string> distinct_names(std::span<const std::string> names, std::span<const std::string> folders);

// "weir train --resume runs/x", with --device where it is not the default: to be pasted into a shell.
std::string resume_command(const std::string& run, const std::string& device = "cpu");

}  // namespace weir
