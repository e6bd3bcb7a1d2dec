# make demo    carry a file and a conversation through a proxy that cuts the wire
# make test    everything that proves the code, with the seconds of each part
# make check   format, lints and documentation
# make bench   measures against floors and peers: one table, and plots of how cost grows; alone on the machine, please
# make fuzz    runs each fuzz target for FUZZ_SECONDS (60); FUZZ=pair runs only that one
# make faults  plants known faults into a copy of the code and expects the tests to find each
# make mutants changes each operator and function of core's leaves and lanes in turn and expects core's unit tests to notice;
#              MUTANTS='--file core/src/wire/*.rs' or '--shard 0/8' takes a part, see .cargo/mutants.toml
# make mutants-socket  the same with the rest of the socket, the server and the simulator's tests; MUTANTS_SOCKET takes a part

CARGO ?= cargo
DEMO ?= --seconds 10 --cut-every 300

# All parts select the whole workspace: a part of it has other features of the dependencies, and would be built anew.
TEST = $(CARGO) test --workspace --locked
FUZZ ?= packets pair server mitm datagrams lossy cookies
FUZZ_SECONDS ?= 60
MUTANTS ?= --file core/src/*.rs --file core/src/wire/*.rs --file core/src/lane/*.rs --file core/src/socket/lanes/*.rs
MUTANTS_SOCKET ?= --file core/src/socket/*.rs --file core/src/socket/datagram/*.rs --file core/src/server/*.rs
EXAMPLES = $${CARGO_TARGET_DIR:-target}/debug/examples

# $(call part,name,command) runs the command and prints how long it took.
define part
	@echo '== $(1)'; start=$$(date +%s%N); $(2) || exit 1; \
	tenths=$$((($$(date +%s%N) - start) / 100000000)); echo "== $(1): $$((tenths / 10)).$$((tenths % 10)) s"
endef

.PHONY: demo test check bench fuzz faults mutants mutants-socket

demo:
	$(CARGO) run --release --locked --quiet --package steadfast-cli -- demo $(DEMO)

test:
	$(call part,build,$(CARGO) build --workspace --locked --examples && $(TEST) --tests --benches --no-run)
	$(call part,unit tests,$(TEST) --lib --bins)
	$(call part,integration tests,$(TEST) --test '*')
	$(call part,benches run once,$(TEST) --bench '*')
	$(call part,documentation tests,$(TEST) --doc)
	$(call part,example without a runtime,$(EXAMPLES)/plain_std)
	$(call part,no_std,$(CARGO) build --locked --manifest-path core/tests/no_std/Cargo.toml --target-dir target/no_std)
	$(call part,fuzz corpora,$(CARGO) test --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --tests)

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --all-targets --locked -- -D warnings

bench:
	$(CARGO) run --release --locked --quiet --package steadfast-benches --bin ratios -- --plots benches/plots $(BENCH)

# New inputs go to target/fuzz/corpus, beside the committed ones. There is no unsafe code: no sanitizer, and so no nightly.
fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo 'make fuzz needs cargo-fuzz and a C++ compiler: cargo install cargo-fuzz' >&2; exit 1; }
	for target in $(FUZZ); do \
	    mkdir -p target/fuzz/corpus/$$target; \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none --features libfuzzer --target-dir target/fuzz $$target \
	        target/fuzz/corpus/$$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=800 -timeout=10 || exit 1; \
	done

faults:
	.ci/faults

# $(call mutate,environment,arguments)
define mutate
	@$(CARGO) mutants --version >/dev/null 2>&1 || { echo 'make mutants needs cargo-mutants: cargo install cargo-mutants' >&2; exit 1; }
	set -f; $(1) $(CARGO) mutants --package steadfast --output target $(2)
endef

mutants:
	$(call mutate,PROPTEST_CASES=32 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1,--cargo-arg=--lib $(MUTANTS))

mutants-socket:
	$(call mutate,STEADFAST_SCHEDULES=100,--test-package steadfast-sim --cargo-arg=--tests $(MUTANTS_SOCKET))
