// Tests run with the kernels that the program uses.
#include <gmock/gmock.h>

#include "framework/base/instruction_sets.h"

int main(int argc, char** argv) {
  quell::fix_instruction_sets();
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
