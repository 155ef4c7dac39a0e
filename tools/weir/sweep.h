// A sweep: variants of one configuration, each trained with several seeds.
#pragma once

#include <string>
#include <vector>

#include "train/config.h"
#include "train/run_lookup.h"
#include "train/text_table.h"

namespace weir {

struct SweepVariant {
  Config config;         // its name is the variant's
  double published = 0;  // 0: none

  void visit(FieldVisitor& v);
};

// One variant with one seed, in a run folder of its own: config.toml is written before it starts, result.json is what
// `weir train --json` prints at its end, log.txt what went wrong.
struct SweepRun {
  std::string name;  // VARIANT-seedN
  std::string folder;
  std::size_t variant = 0;
  Config config;

  std::string file(const std::string& name_in_folder) const { return run_file(folder, name_in_folder); }
  bool finished() const;
};

struct Sweep {
  std::string name, folder;
  std::vector<SweepVariant> variants;
  Notes notes;
  std::vector<SweepRun> runs;  // all variants with the first seed, then with the next
};

struct SweepArguments {
  std::string file;
  std::vector<std::string> overrides;  // for every variant
  std::string folder;                  // empty: runs/NAME
  std::vector<std::string> only;       // names of variants; empty: all
  std::int64_t seeds = 0;              // 0: as many as the file says
};

// Reads, resolves and validates every variant. Trains nothing, touches no folder.
Sweep load_sweep(const SweepArguments& arguments);

// Whether the folder of one of its runs is there.
bool holds_any_run(const Sweep& sweep);

// Refuses a folder without any of the sweep's runs.
void check_any_run(const Sweep& sweep);

// Refuses data that `weir train` would refuse (read once, not once per variant), and folders whose runs were begun with
// other settings.
void check_before_sweep(const Sweep& sweep);

struct SweepOutcome {
  bool stopped = false;             // by a signal, before all runs were done
  std::vector<std::string> failed;  // "NAME: reason"
  int failed_code = 0;              // exit code of the first that failed
  std::size_t diverged = 0;         // of those that failed
};

// Runs what is not finished, `jobs` processes at a time, and says on stdout how it goes unless `quiet`.
SweepOutcome run_sweep(const Sweep& sweep, std::int64_t jobs, bool quiet);

std::string sweep_table(const Sweep& sweep, TableFormat format);

}  // namespace weir
