//go:build tools

// Package tools names the command that the testbed builds, so that go.sum holds
// the checksum of everything it needs and a build can run with -mod=readonly.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
