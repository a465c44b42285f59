module sigill/internal/peers/ctscan

go 1.26.0

tool github.com/google/certificate-transparency-go/scanner/scanlog

require (
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/google/certificate-transparency-go v1.4.0 // indirect
	github.com/google/trillian v1.7.2 // indirect
	golang.org/x/crypto v0.48.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20251202230838-ff82c1b0f217 // indirect
	google.golang.org/grpc v1.79.1 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
	k8s.io/klog/v2 v2.130.1 // indirect
)
