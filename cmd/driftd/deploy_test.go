package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"driftd.dev/driftd/configs"
	"driftd.dev/driftd/pkg/config"
)

const deployed = "../../deploy/"

// deployedText reads a file below deploy.
func deployedText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(deployed + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// accepted parses a command line of driftd and reports whether it names a command
// and flags that exist.
func accepted(t *testing.T, args []string) {
	t.Helper()
	e := &env{in: strings.NewReader(""), out: io.Discard, err: io.Discard, lookup: func(string) (string, bool) { return "", false }}
	root := newRootCmd(e)
	cmd, rest, err := root.Find(args)
	if err != nil || cmd == root {
		t.Errorf("driftd %s: no such command: %v", strings.Join(args, " "), err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("driftd %s: %v", strings.Join(args, " "), err)
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("driftd %s: %v", strings.Join(args, " "), err)
	}
}

// configured parses a configuration as the daemon does.
func configured(t *testing.T, name, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(name, []byte(text), config.Options{LookupEnv: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A manifest is what the tests read of a Kubernetes object.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		ServiceName string `yaml:"serviceName"`
		Replicas    int
		Egress      []struct{ Ports []struct{ Port int } }
		Template    struct {
			Spec struct {
				Containers []container
				Volumes    []struct {
					Name      string
					ConfigMap *struct{ Name string }      `yaml:"configMap"`
					Claim     *struct{ ClaimName string } `yaml:"persistentVolumeClaim"`
				}
			}
		}
	}
}

type container struct {
	Name            string
	Args            []string
	StartupProbe    *probe `yaml:"startupProbe"`
	LivenessProbe   *probe `yaml:"livenessProbe"`
	ReadinessProbe  *probe `yaml:"readinessProbe"`
	SecurityContext struct {
		ReadOnly bool `yaml:"readOnlyRootFilesystem"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct{ Exec struct{ Command []string } }

// manifests reads all objects of the Kubernetes file, by kind.
func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	out := map[string]manifest{}
	for dec := yaml.NewDecoder(strings.NewReader(deployedText(t, "kubernetes/driftd.yaml"))); ; {
		var m manifest
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[m.Kind] = m
	}
}

// TestKubernetesManifestsFitTogether: commands, paths, ports and names in the
// manifests are driftd's and one another's.
func TestKubernetesManifestsFitTogether(t *testing.T) {
	all := manifests(t)
	set := all["StatefulSet"]
	for _, kind := range []string{"ConfigMap", "Service", "PersistentVolumeClaim", "StatefulSet", "NetworkPolicy"} {
		if all[kind].Metadata.Name != "driftd" {
			t.Errorf("no %s named driftd", kind)
		}
	}
	if set.Spec.Replicas != 1 || set.Spec.ServiceName != all["Service"].Metadata.Name {
		t.Errorf("%d replicas of service %q: one process owns a store", set.Spec.Replicas, set.Spec.ServiceName)
	}
	mounts := map[string]string{}
	c := set.Spec.Template.Spec.Containers[0]
	accepted(t, c.Args)
	if !c.SecurityContext.ReadOnly {
		t.Error("the root file system can be written")
	}
	for _, m := range c.VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	for _, v := range set.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name != all["ConfigMap"].Metadata.Name || v.Claim != nil && v.Claim.ClaimName != "" && v.Claim.ClaimName != all["PersistentVolumeClaim"].Metadata.Name {
			t.Errorf("volume %s names something else", v.Name)
		}
	}
	conf := configured(t, "ConfigMap", all["ConfigMap"].Data["driftd.yaml"])
	if !slices.Contains(c.Args, mounts["config"]+"/driftd.yaml") {
		t.Errorf("args %q do not read %s/driftd.yaml", c.Args, mounts["config"])
	}
	if !strings.HasPrefix(conf.Store.Dir, mounts["state"]+"/") {
		t.Errorf("the store %s is not below the volume %s", conf.Store.Dir, mounts["state"])
	}
	for name, p := range map[string]*probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		command := p.Exec.Command
		accepted(t, command[1:])
		if command[0] != "/usr/bin/driftd" || !slices.Contains(command, "http://"+conf.HTTP.Listen) {
			t.Errorf("the %s probe %q does not ask %s", name, command, conf.HTTP.Listen)
		}
		if ready := slices.Contains(command, "--ready"); ready != (name == "readiness") {
			t.Errorf("the %s probe asks whether it is ready: %v", name, ready)
		}
	}
	scrapes(t, all["ConfigMap"].Data["prometheus.yml"], conf)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(conf.NATS.URL.Reveal(), "nats://"))
	if egress := all["NetworkPolicy"].Spec.Egress; len(egress) != 1 || port != "4222" || !slices.ContainsFunc(egress[0].Ports, func(p struct{ Port int }) bool { return p.Port == 4222 }) {
		t.Errorf("NATS at port %s cannot be reached: %+v", port, egress)
	}
}

// scrapes checks that a configuration of Prometheus asks where driftd listens.
func scrapes(t *testing.T, text string, c *config.Config) {
	t.Helper()
	var p struct {
		Jobs []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Jobs) != 1 || len(p.Jobs[0].Static) != 1 || !slices.Equal(p.Jobs[0].Static[0].Targets, []string{c.HTTP.Listen}) {
		t.Errorf("Prometheus asks %+v, driftd listens on %s", p.Jobs, c.HTTP.Listen)
	}
}

// TestComposeFitsTogether: its commands, files and ports exist.
func TestComposeFitsTogether(t *testing.T) {
	var f struct {
		Services map[string]struct {
			Command  []string
			Volumes  []string
			Ports    []string
			ReadOnly bool `yaml:"read_only"`
			Build    *struct{ Context, Dockerfile string }
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal([]byte(deployedText(t, "compose/compose.yaml")), &f); err != nil {
		t.Fatal(err)
	}
	driftd := f.Services["driftd"]
	accepted(t, driftd.Command)
	if !driftd.ReadOnly {
		t.Error("the root file system can be written")
	}
	if _, err := os.Stat(filepath.Join(deployed, "compose", driftd.Build.Context, driftd.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	conf := configured(t, "compose/driftd.yaml", deployedText(t, "compose/driftd.yaml"))
	scrapes(t, deployedText(t, "compose/prometheus.yml"), conf)
	if !slices.Contains(driftd.Volumes, "state:"+conf.Store.Dir) || !slices.Contains(driftd.Volumes, "./driftd.yaml:"+driftd.Command[2]+":ro") {
		t.Errorf("volumes %q: want the store %s and %s", driftd.Volumes, conf.Store.Dir, driftd.Command[2])
	}
	if port := f.Services["nats"].Ports[0]; "nats://"+strings.TrimSuffix(port, ":4222") != conf.NATS.URL.Reveal() {
		t.Errorf("NATS is at %s, driftd looks for it at %s", port, conf.NATS.URL)
	}
	for service, s := range f.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := f.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join(deployed, "compose", from)); err != nil {
				t.Errorf("%s mounts %s: %v", service, v, err)
			}
		}
	}
	if add := strings.Join(f.Services["stream"].Command, " "); !strings.Contains(add, "stream add "+conf.NATS.Stream+" --subjects '"+conf.NATS.Subjects[0]+"' ") {
		t.Errorf("%q does not make the stream that driftd reads", add)
	}
}

// ruleLibrary is where packages and the image put configs/rules, and where the
// documented defaults say that they are.
const ruleLibrary = "/usr/share/driftd/rules"

// TestDefaultsNameTheRuleLibrary: who reads them finds rules to begin with.
func TestDefaultsNameTheRuleLibrary(t *testing.T) {
	if !bytes.Contains(configs.Defaults, []byte(" "+ruleLibrary+" ")) {
		t.Errorf("configs/driftd.yaml does not name %s", ruleLibrary)
	}
}

var dockerCommand = regexp.MustCompile(`(?m)^CMD \[(.*)\]$`)

// TestDockerfileRunsDriftd: what the image runs and copies exists, as nobody.
func TestDockerfileRunsDriftd(t *testing.T) {
	text := deployedText(t, "docker/Dockerfile")
	m := dockerCommand.FindStringSubmatch(text)
	if m == nil {
		t.Fatal("no CMD")
	}
	var args []string
	for arg := range strings.SplitSeq(m[1], ", ") {
		args = append(args, strings.Trim(arg, `"`))
	}
	accepted(t, args)
	for _, want := range []string{"\nFROM scratch\n", "\nUSER 65532:65532\n", "CGO_ENABLED=0", "-trimpath -buildvcs=false", "ca-certificates.crt", "COPY configs/driftd.yaml " + args[2] + "\n", "COPY configs/rules " + ruleLibrary + "\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`FROM golang:(\S+) `).FindStringSubmatch(text)[1]
	if !bytes.Contains(module, []byte("\ngo "+image)) {
		t.Errorf("the image is built by Go %s, which go.mod does not name", image)
	}
}

// TestPackagesHoldWhatTheUnitRuns: each file of the packages exists, and the unit
// finds its program and configuration where they put them.
func TestPackagesHoldWhatTheUnitRuns(t *testing.T) {
	var f struct {
		Contents []struct{ Src, Dst string }
		Scripts  map[string]string
	}
	if err := yaml.Unmarshal([]byte(deployedText(t, "packages/nfpm.yaml")), &f); err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, c := range f.Contents {
		places = append(places, c.Dst)
		if c.Src == "driftd" || c.Src == "" || strings.HasPrefix(c.Src, "dist/") { // make packages builds it; a folder
			continue
		}
		if found, err := filepath.Glob("../../" + c.Src); err != nil || len(found) == 0 {
			t.Errorf("no %s: %v", c.Src, err)
		}
	}
	for _, script := range f.Scripts {
		if info, err := os.Stat("../../" + script); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run: %v", script, err)
		}
	}
	unit := deployedText(t, "systemd/driftd.service")
	start := strings.Fields(regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(unit)[1])
	accepted(t, start[1:])
	for _, want := range []string{start[0], start[3], ruleLibrary} {
		if !slices.Contains(places, want) {
			t.Errorf("the unit runs %q, the documented defaults name %s, the packages hold %q", start, ruleLibrary, places)
		}
	}
	for _, want := range []string{"\nType=notify\n", "\nWatchdogSec=30\n", "\nStateDirectory=driftd\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("no %q in the unit", want)
		}
	}
	if got, want := packaged(t).Store.Dir, "/var/lib/driftd/data"; got != want {
		t.Errorf("the packages' store.dir is %s, want %s in the unit's StateDirectory: commands are run from anywhere", got, want)
	}
}

// packaged reads the configuration that the packages install, as the Makefile makes it
// from the documented defaults.
func packaged(t *testing.T) *config.Config {
	t.Helper()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	edit := regexp.MustCompile(`(?m)^\tsed 's#\^(.+)#(.+)#' configs/driftd.yaml > dist/driftd.yaml$`).FindSubmatch(makefile)
	if edit == nil {
		t.Fatal("make packages does not make dist/driftd.yaml")
	}
	return configured(t, "dist/driftd.yaml", string(bytes.Replace(configs.Defaults, edit[1], edit[2], 1)))
}
