//go:build tools

// Package tools names the command that the testbed builds, so that go.sum holds
// the checksum of everything it needs and a build can run with -mod=readonly.
package tools

import _ "github.com/prometheus/prometheus/cmd/promtool"
