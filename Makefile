# make demo    carry a file and a conversation through a proxy that cuts the wire
# make test    everything that proves the code, with the seconds of each part
# make check   format, lints and documentation
# make faults  plants known faults into a copy of the code and expects the tests to find each

CARGO ?= cargo
DEMO ?= --seconds 10 --cut-every 300

# $(call part,name,command): runs the command and prints how long it took.
define part
	@printf '== %s\n' '$(1)'; start=$$(date +%s%N); $(2) || exit 1; \
	end=$$(date +%s%N); printf '== %s: %d.%01d s\n' '$(1)' $$(((end - start) / 1000000000)) $$(((end - start) / 100000000 % 10))
endef

.PHONY: demo test check faults

demo:
	$(CARGO) run --release --locked --quiet --package steadfast-cli -- demo $(DEMO)

test:
	$(call part,build,$(CARGO) test --workspace --locked --all-targets --no-run)
	$(call part,core,$(CARGO) test --locked --package steadfast --all-targets)
	$(call part,simulation,$(CARGO) test --locked --package steadfast-sim --all-targets)
	$(call part,adapters,$(CARGO) test --locked --package steadfast-driver --package steadfast-tokio --package steadfast-smol --package steadfast-adapter-tests --all-targets)
	$(call part,tool,$(CARGO) test --locked --package steadfast-cli --all-targets)
	$(call part,example without a runtime,$(CARGO) run --locked --quiet --package steadfast --example plain_std)
	$(call part,examples in the documentation,$(CARGO) test --workspace --locked --doc)
	$(call part,no_std,$(CARGO) build --locked --manifest-path core/tests/no_std/Cargo.toml --target-dir target/no_std)

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

faults:
	.ci/faults
