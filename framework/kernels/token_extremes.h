// Token-wise clipping: the range of a batch after the tokens with the most extreme values were cut
// down to the others. Outlier Suppression, section 4.2 (coarse stage).
#pragma once

#include <vector>

#include "framework/kernels/min_max.h"

namespace quell::kernels {

// The extremes of the tokens of a batch, sorted once, so that the range of any ratio costs a few
// binary searches.
class TokenExtremes {
 public:
  // Per token its smallest and largest value, as min_max_tokens() gives them; equally many, at
  // least one. A NaN makes every range NaN.
  TokenExtremes(std::vector<float> min, std::vector<float> max);

  // Those values, in ascending order of the maxima and descending order of the minima; one NaN in
  // place of all where there was one.
  std::vector<float> minima() const;
  const std::vector<float>& maxima() const { return upper_.ends(); }

  // What remains when the share `ratio` in (0, 1] of the tokens is not cut: with U = the largest
  // token maximum that is not beyond the quantile `ratio` of all |token maximum|, and L the same of
  // the minima, the extremes of clamp(x, L, U). The bits of the published code.
  MinMax clipped(double ratio) const;

 private:
  // One end (the largest values, or the negated smallest ones) of the tokens.
  class Ends {
   public:
    explicit Ends(std::vector<float> ends);
    const std::vector<float>& ends() const { return ends_; }
    float furthest() const { return ends_.back(); }
    float bound(double ratio) const;

   private:
    std::vector<float> ends_;        // ascending
    std::vector<float> magnitudes_;  // ascending
  };

  Ends lower_, upper_;
};

}  // namespace quell::kernels
