// Initial values of parameters. Standard deviations are the caller's; sources are in the paper's order.
#pragma once

#include "models/parameter.h"

namespace weir::initialise {

Initialiser constant(double value);
Initialiser uniform(double bound);  // in (-bound, bound)
Initialiser normal(double std);

// N(0, 1) cut to [-2, 2], then the whole tensor scaled so that its empirical standard deviation is `std`.
Initialiser truncated_normal(double std);

// N(0, std^2); every row divided by its L2 norm; then the whole matrix scaled back to the standard deviation it had.
// For routers: all experts start with equally long selection vectors.
Initialiser normalised_rows(double std);

}  // namespace weir::initialise
