package kubectl

// The real kubectl; what is below is compiled in from the first build on.
import _ "k8s.io/kubectl/pkg/cmd"
