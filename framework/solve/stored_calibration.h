// Scales and zero points from a file: a results file of quell, or a table of the published codes.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "framework/quant/site.h"
#include "framework/record/results_file.h"

namespace quell {

// Reads, by suffix:
//   .h5    a results file of quell: names are site keys ("activation:encoder.0.ffn.gelu");
//   .json  {name: [scale, zero point, ...]} (Outlier Suppression), {name: scale or [scales]}, or
//          an object with a list `quantizers` of {name, delta, zero_point, signed} (Qualcomm),
//          whose vectors are looked up in the .safetensors file of the same stem. `entry` leads
//          from the top of the file to the table, key by key.
// Names are site keys or published names. Throws DataError naming file and entry.
std::map<std::string, StoredParameters> read_stored_calibration(
    const std::filesystem::path& path, const std::vector<std::string>& entry);

// The site that a name means, by its key or a published name. kNoSite when there is none.
SiteId find_site(std::span<const Site> sites, const std::string& name);

}  // namespace quell
