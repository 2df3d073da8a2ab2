// Whether this is built with AddressSanitizer; without it, its macros do nothing.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CTCKIT_ADDRESS_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CTCKIT_ADDRESS_SANITIZER
#endif

#if defined(CTCKIT_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) (static_cast<void>(address), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) (static_cast<void>(address), static_cast<void>(bytes))
#endif

namespace ctckit {

#if defined(CTCKIT_ADDRESS_SANITIZER)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif

}  // namespace ctckit
