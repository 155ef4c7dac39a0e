// The sub-commands of `weir`. Each adds itself to the command line and runs when it was chosen.
#pragma once

#include "tools/weir/command_line.h"

namespace weir {

void add_prepare_command(CommandLine& line);
void add_train_command(CommandLine& line);
void add_eval_command(CommandLine& line);
void add_generate_command(CommandLine& line);
void add_presets_command(CommandLine& line);
void add_inspect_command(CommandLine& line);
void add_sweep_command(CommandLine& line);
void add_bench_command(CommandLine& line);
void add_tokenize_command(CommandLine& line);
void add_text_command(CommandLine& line);
void add_report_command(CommandLine& line);

}  // namespace weir
