package main

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// madeImages names tars of build.sh, with blanks between. Without it, the test of them is skipped.
const madeImages = "IMAGES"

// static is a program for amd64 that needs no loader.
var static string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "image-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		source := filepath.Join(dir, "main.go")
		static = filepath.Join(dir, "program")
		err = os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600)
		if err == nil {
			build := exec.Command("go", "build", "-o", static, source)
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
			build.Stderr = os.Stderr
			err = build.Run()
		}
		if err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

func TestTheImageHoldsWhatItWasGivenAndNothingElse(t *testing.T) {
	image := open(t, written(t, t.TempDir(), static))

	if got, want := contents(t, image), []string{"etc 755", "etc/motd 444", "program 555"}; !slices.Equal(got, want) {
		t.Errorf("it holds %v, not %v", got, want)
	}
}

func TestTheImageRunsItsProgramAsNobody(t *testing.T) {
	config, err := open(t, written(t, t.TempDir(), static)).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.User; got != "65532:65532" {
		t.Errorf("it runs as %q", got)
	}
	if got := config.Config.Entrypoint; !slices.Equal(got, []string{"/program"}) {
		t.Errorf("it runs %q", got)
	}
	if got := config.OS + "/" + config.Architecture; got != "linux/amd64" {
		t.Errorf("it is for %s", got)
	}
	if !config.Created.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("it was made at %s", config.Created)
	}
}

func TestLabelsAreAnnotationsTooAndEmptyOnesAreNone(t *testing.T) {
	image := open(t, written(t, t.TempDir(), static))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"org.opencontainers.image.title": "a title"}
	if !maps.Equal(config.Config.Labels, want) {
		t.Errorf("the labels are %v", config.Config.Labels)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(manifest.Annotations, want) {
		t.Errorf("the annotations are %v", manifest.Annotations)
	}
}

func TestWhereAndWhenItIsMadeDoesNotShow(t *testing.T) {
	one := written(t, t.TempDir(), static)
	// Another directory, another time of the program's file, another mode.
	elsewhere := filepath.Join(t.TempDir(), "program")
	content, err := os.ReadFile(static)
	if err == nil {
		err = os.WriteFile(elsewhere, content, 0o777)
	}
	if err == nil {
		err = os.Chtimes(elsewhere, time.Unix(1, 0), time.Unix(1, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	other := written(t, t.TempDir(), elsewhere)

	if sum(t, one) != sum(t, other) {
		t.Error("the same inputs gave different bytes")
	}
}

func TestBothWaysToReadTheTarGiveTheSameImage(t *testing.T) {
	path := written(t, t.TempDir(), static)
	oci := open(t, path)
	if err := validate.Image(oci); err != nil {
		t.Error(err)
	}
	docker, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := oci.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := docker.ConfigName(); err != nil || got != want {
		t.Errorf("docker load sees %v (%v), not %v", got, err, want)
	}
}

func TestAProgramThatAnEmptyBaseCannotRunIsRefused(t *testing.T) {
	dynamic, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, program, platform, says string }{
		{"with libraries", dynamic, "linux/amd64", "is not static"},
		{"of another architecture", static, "linux/arm64", "not for arm64"},
		{"of an unknown architecture", static, "linux/s390x", "not for s390x"},
		{"that is none", "main.go", "linux/amd64", "main.go"},
	} {
		err := attempt("--output", filepath.Join(t.TempDir(), "x.tar"), "--name", "x:1", "--platform", c.platform, "--program", c.program)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("a program %s: %v", c.what, err)
		}
	}
}

func TestAnImageThatHasGrownTooLargeIsRefusedAndNotWritten(t *testing.T) {
	output := filepath.Join(t.TempDir(), "x.tar")
	err := attempt("--output", output, "--name", "x:1", "--platform", "linux/amd64", "--program", static, "--at-most", "1000")
	if err == nil || !strings.Contains(err.Error(), "1000 are allowed") {
		t.Error(err)
	}
	if _, err := os.Stat(output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is an output: %v", err)
	}
}

func TestTheMomentIsAskedFor(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if _, err := parse([]string{"--output=x", "--name=x:1", "--platform=linux/amd64", "--program=x"}); err == nil {
		t.Error("it took the present time")
	}
}

// What build.sh puts in, as opposed to what this program could be given.
func TestTheImagesThatWereMade(t *testing.T) {
	paths := strings.Fields(os.Getenv(madeImages))
	if len(paths) == 0 {
		t.Skip(madeImages + " is not set; it names the tars that build.sh prints")
	}
	files := map[string][]string{
		"/ukgpro-operator":  {"etc 755", "etc/ssl 755", "etc/ssl/certs 755", "etc/ssl/certs/ca-certificates.crt 444", "ukgpro-operator 555"},
		"/ukgpro-simulator": {"ukgpro-simulator 555"},
	}
	for _, path := range paths {
		image := open(t, path)
		if err := validate.Image(image); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != user || len(config.Config.Entrypoint) != 1 || len(config.Config.Cmd) > 0 || len(config.Config.Env) > 0 {
			t.Errorf("%s runs %q %q with %q as %q", path, config.Config.Entrypoint, config.Config.Cmd, config.Config.Env, config.Config.User)
		}
		want, known := files[config.Config.Entrypoint[0]]
		if got := contents(t, image); !known || !slices.Equal(got, want) {
			t.Errorf("%s holds %v, not %v", path, got, want)
		}
		for _, name := range []string{"title", "description", "version", "revision", "created", "licenses"} {
			if config.Config.Labels["org.opencontainers.image."+name] == "" {
				t.Errorf("%s has no label for its %s", path, name)
			}
		}
	}
}

// written writes an image of the program into a directory and returns its path.
func written(t *testing.T, dir, program string) string {
	t.Helper()
	motd := filepath.Join(dir, "motd")
	if err := os.WriteFile(motd, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(dir, "image.tar")
	err := attempt("--output", output, "--name", "example.org/it:1", "--platform", "linux/amd64", "--program", program,
		"--file", "/etc/motd="+motd, "--label", "org.opencontainers.image.title=a title", "--label", "org.opencontainers.image.source=")
	if err != nil {
		t.Fatal(err)
	}
	return output
}

func attempt(arguments ...string) error {
	os.Setenv("SOURCE_DATE_EPOCH", "1800000000")
	defer os.Unsetenv("SOURCE_DATE_EPOCH")
	o, err := parse(arguments)
	if err == nil {
		err = run(o)
	}
	return err
}

// open reads the tar as an OCI layout.
func open(t *testing.T, path string) v1.Image {
	t.Helper()
	dir := t.TempDir()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		to := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("not one image: %v %v", manifest, err)
	}
	if name := manifest.Manifests[0].Annotations["io.containerd.image.name"]; !strings.Contains(name, ":") {
		t.Errorf("containerd would call it %q", name)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// contents lists names and modes, and holds that all is root's, of one time and without surprise.
func contents(t *testing.T, image v1.Image) []string {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(image)
	defer content.Close()
	var entries []string
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir {
			t.Errorf("%s is of type %c", header.Name, header.Typeflag)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.Gname != "" || !header.ModTime.Equal(config.Created.Time) {
			t.Errorf("%s is %+v", header.Name, header)
		}
		entries = append(entries, fmt.Sprintf("%s %o", header.Name, header.Mode))
	}
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}
