// The states of a network's quantizers: of all in one file, or as tensors.
#pragma once

#include <filesystem>

#include "framework/model/execution.h"
#include "framework/model/model.h"
#include "framework/quant/site_points.h"

namespace quell {

inline constexpr const char* kQuantizersFile = "quantizers.safetensors";

// Of the sites that are quantized: how, and with which parameters. `on_grid`: weights whose stored
// values lie on their grids already; what their quantizers know of rounding is left out.
void write_quantizers(const std::filesystem::path& file, const SitePoints& points,
                      const SiteSet& on_grid);

// Gives the points the states of a file, to whose grids weights are held. Throws DataError where
// their sites, the ways in which they are quantized, or the weights are not those that the file was
// written for.
void read_quantizers(const std::filesystem::path& file, Execution& execution, SitePoints& points);

// What calibrating some sites found: quantizers, ranges, and what observers saw; and points that
// take it over. Throws DataError where it is of other sites.
NamedTensors calibration_of(const SitePoints& points, SiteRange sites);
void set_calibration(const NamedTensors& state, SitePoints& points);

// What is left of a state for a weight whose values lie on the grid.
NamedTensors without_rounding(NamedTensors state);

}  // namespace quell
