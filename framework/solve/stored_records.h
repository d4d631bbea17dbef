// Records as tensors, for steps that keep their progress.
#pragma once

#include <span>
#include <vector>

#include "framework/model/record.h"
#include "framework/quant/named_tensors.h"

namespace quell {

NamedTensors pack_records(std::span<const Record> records);
// What pack_records() was given, to the bit. Throws DataError where it is damaged.
std::vector<Record> unpack_records(const NamedTensors& packed);

}  // namespace quell
