// The message of the exception that an action must throw.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace quell {

// EXPECT_THAT(message_of<DataError>([&] { ... }), HasSubstr("...")). "" (and a failure) where
// nothing is thrown; another exception passes through and fails the test.
template <class Exception, class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace quell
