#include "framework/kernels/bounded_minimum.h"

#include <algorithm>
#include <cmath>

namespace quell::kernels {
namespace {

const double kGolden = 0.5 * (3 - std::sqrt(5.0));
const double kRelativeTolerance = std::sqrt(2.2e-16);

double sign(double value) { return value < 0 ? -1.0 : 1.0; }

struct Point {
  double x;
  double value;
};

class Search {
 public:
  Search(double low, double high, double tolerance)
      : low_(low), high_(high), tolerance_(tolerance) {}

  double start() const { return low_ + kGolden * (high_ - low_); }
  void set_start(Point start) {
    best_ = second_ = third_ = start;
    update_closeness();
  }
  bool done() const { return std::abs(best_.x - middle()) <= 2 * close_ - 0.5 * (high_ - low_); }
  Point best() const { return best_; }

  // Where to evaluate next.
  double propose() {
    if (!(std::abs(step_before_) > close_ && parabolic_step())) {
      step_before_ = best_.x >= middle() ? low_ - best_.x : high_ - best_.x;
      step_ = kGolden * step_before_;
    }
    return best_.x + sign(step_) * std::max(std::abs(step_), close_);
  }

  void add(Point point) {
    if (point.value <= best_.value) {
      (point.x >= best_.x ? low_ : high_) = best_.x;
      third_ = second_;
      second_ = best_;
      best_ = point;
    } else {
      (point.x < best_.x ? low_ : high_) = point.x;
      if (point.value <= second_.value || second_.x == best_.x) {
        third_ = second_;
        second_ = point;
      } else if (point.value <= third_.value || third_.x == best_.x || third_.x == second_.x) {
        third_ = point;
      }
    }
    update_closeness();
  }

 private:
  double middle() const { return 0.5 * (low_ + high_); }
  void update_closeness() { close_ = kRelativeTolerance * std::abs(best_.x) + tolerance_ / 3; }

  // Steps to the vertex of the parabola through the three points, where it lies inside of the
  // interval and the step is less than half of the one before the last.
  bool parabolic_step() {
    const double r = (best_.x - second_.x) * (best_.value - third_.value);
    double q = (best_.x - third_.x) * (best_.value - second_.value);
    double p = (best_.x - third_.x) * q - (best_.x - second_.x) * r;
    q = 2 * (q - r);
    if (q > 0) p = -p;
    q = std::abs(q);
    const double before = step_before_;
    step_before_ = step_;
    if (!(std::abs(p) < std::abs(0.5 * q * before) && p > q * (low_ - best_.x) &&
          p < q * (high_ - best_.x))) {
      return false;
    }
    step_ = p / q;
    const double x = best_.x + step_;
    if (x - low_ < 2 * close_ || high_ - x < 2 * close_) step_ = close_ * sign(middle() - best_.x);
    return true;
  }

  double low_, high_, tolerance_;
  Point best_{}, second_{}, third_{};
  double step_ = 0, step_before_ = 0;
  double close_ = 0;  // points nearer than this to each other are not told apart
};

}  // namespace

BoundedMinimum minimize_bounded(const std::function<double(double)>& function, double low,
                                double high, double tolerance, int max_evaluations) {
  Search search(low, high, tolerance);
  const double start = search.start();
  search.set_start({start, function(start)});
  int evaluations = 1;
  while (!search.done() && evaluations < max_evaluations) {
    const double x = search.propose();
    search.add({x, function(x)});
    ++evaluations;
  }
  return {search.best().x, search.best().value, evaluations};
}

}  // namespace quell::kernels
