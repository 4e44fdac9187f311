#!/bin/sh
# rustdoc that may write JSON, for `tests/trefoil-checks/tests/public_api.rs`. Only it may: whatever else cargo builds
# with it is built as ever.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
