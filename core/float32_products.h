// How exact products of float32 matrices have to be, dense ones and those with a matrix per group.
#pragma once

namespace weir {

// ieee: factors keep their 24 bits. tf32: a device may round them to 11 or more, which tensor cores, or the matrix unit
// of a CPU, multiply several times faster; sums stay in float32. A device without such products computes in ieee. An op
// that multiplies takes it as its last argument, and computes its gradients as exactly.
enum class Float32Products { ieee, tf32 };

}  // namespace weir
