// Brent's method against SciPy 1.17.1: minimize_scalar(f, bounds=(low, high), method="bounded").
#include "framework/kernels/bounded_minimum.h"

#include <gtest/gtest.h>
#include <cmath>

namespace quell::kernels {
namespace {

struct Case {
  const char* name;
  double low, high;
  std::function<double(double)> function;  // of operations that are exactly rounded everywhere
  double argument;
  int evaluations;
  // h = 0; for each evaluated x: h = h / 2 + x. Depends on all of them.
  double history;
};

const Case kCases[] = {
    {"parabola", 0, 5, [](double x) { return (x - 2) * (x - 2); }, 2.0, 6, 3.900358615180476},
    {"quartic", -1, 4, [](double x) { return x * x * x * x - 3 * x * x * x + 2; },
     2.250000082565353, 13, 4.500231982553405},
    {"kink", 0, 1, [](double x) { return std::abs(x - 0.3); }, 0.2999998667617435, 18,
     0.5999717266840444},
    {"steps", 0, 3,
     [](double x) {
       const double step = std::nearbyint(x * 8) / 8;
       return step * (step - 1.5);
     },
     0.7082103002752961, 23, 1.4164412348228574},
    {"monotone", 0.01, 1, [](double x) { return -x; }, 0.9999940987476234, 25, 1.9999691955232746},
    {"constant", 0.01, 7, [](double) { return 1.0; }, 6.999993920951498, 29, 13.999968211784797},
    {"waves", 0, 3,
     [](double x) { return (x - 1) * (x - 1) + 0.3 * std::abs(std::fmod(x * 7, 1) - 0.5); },
     0.9285711645608794, 18, 1.8571329986268883},
    {"point", 0, 0, [](double x) { return x * x; }, 0.0, 1, 0.0},
};

TEST(BoundedMinimum, EvaluatesWhereSciPyDoes) {
  for (const Case& one : kCases) {
    double history = 0;
    const BoundedMinimum found = minimize_bounded(
        [&](double x) {
          history = history * 0.5 + x;
          return one.function(x);
        },
        one.low, one.high);
    EXPECT_EQ(found.argument, one.argument) << one.name;
    EXPECT_EQ(found.evaluations, one.evaluations) << one.name;
    EXPECT_EQ(found.value, one.function(found.argument)) << one.name;
    EXPECT_EQ(history, one.history) << one.name;
  }
}

TEST(BoundedMinimum, StopsAtTheLimitOfEvaluations) {
  EXPECT_EQ(minimize_bounded([](double x) { return -x; }, 0, 1, 1e-5, 7).evaluations, 7);
}

}  // namespace
}  // namespace quell::kernels
