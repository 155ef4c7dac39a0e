// What a run says of itself: at its start, when it goes on, at its end. Texts of several lines without a line end at
// the end.
#pragma once

#include <span>
#include <string>

#include "core/device.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/schedule.h"
#include "train/trainer.h"

namespace weir {

// Six lines, more where they do not fit, within 80 columns, long names apart: model, device, data, steps, what ends the
// run, folder.
std::string start_text(const Config& config, const Corpora& corpora, Device device, const std::string& run);

// How a run goes on from `checkpoint`: where it is, each setting that differs from the checkpoint's, and what that does
// to the learning rate.
std::string resume_text(const std::string& checkpoint, const Config& saved, const Config& now,
                        const TrainingState& state);

// Why a step was skipped, what of it was beyond its limit: "loss 812 is above the limit of 10.5".
std::string excess_text(const TrainingStep::Result& result, const StepLimits& limits);

// That a run diverged for good: why, where its last good checkpoint is, and the command that goes on from there with a
// learning rate that should do. `rate` is that of its last step, `resume` "weir train --resume RUN".
std::string diverged_text(const TrainingState& state, const Config& config, const std::string& why, double rate,
                          const CheckpointInfo& good, const std::string& resume);

// How a run ended, and where it is. Of a run that had ended before it was resumed: how to train it further, with the
// settings that were asked for.
std::string end_text(const TrainingResult& result, const std::string& run, const std::string& device,
                     std::span<const std::string> overrides = {});

}  // namespace weir
