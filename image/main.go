// Command image writes a container image of one static program, without a daemon, a base image or a registry.
//
// Role: the same inputs give the same bytes. The layer's entries are sorted and owned by root, every time in it is
// SOURCE_DATE_EPOCH, and nothing of the machine that builds gets in. The result is a tar that is an OCI layout and,
// by the manifest.json beside it, what `docker save` writes: `ctr images import`, `docker load`, `podman load` and
// `skopeo copy oci-archive:` take it.
//
// Limits: one platform an archive, and one layer. It compiles nothing; ../Makefile says what goes in.
//
// File map: main.go is flags to file; layer.go is what is in the image; archive.go is the tar around it; image_test.go
// holds what the rest of the project relies on.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is the numeric "nonroot" that Kubernetes' runAsNonRoot can judge without a passwd file. It owns nothing.
const user = "65532:65532"

type options struct {
	output   string
	name     string
	platform v1.Platform
	program  string
	files    []file
	labels   map[string]string
	created  time.Time
	largest  int64
}

// file is one that the image holds beside the program.
type file struct{ at, from string }

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(o)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func parse(arguments []string) (options, error) {
	o := options{labels: map[string]string{}}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&o.output, "output", "", "tar to write")
	flags.StringVar(&o.name, "name", "", "repository:tag the image is imported as")
	flags.StringVar(&o.program, "program", "", "static program, the entry point by its own name")
	flags.Int64Var(&o.largest, "at-most", 0, "bytes the layer may have as pulled, that is compressed (0: any number)")
	flags.Func("platform", "os/architecture", func(value string) error {
		platform, err := v1.ParsePlatform(value)
		if err == nil {
			o.platform = *platform
		}
		return err
	})
	flags.Func("file", "PATH-IN-IMAGE=FILE (repeatable)", func(value string) error {
		at, from, ok := strings.Cut(value, "=")
		if !ok || !path.IsAbs(at) || path.Clean(at) != at {
			return errors.New("want PATH-IN-IMAGE=FILE, the path absolute")
		}
		o.files = append(o.files, file{at, from})
		return nil
	})
	flags.Func("label", "NAME=VALUE, also an annotation of the manifest; an empty value is left out (repeatable)", func(value string) error {
		name, text, ok := strings.Cut(value, "=")
		if !ok {
			return errors.New("want NAME=VALUE")
		}
		if text != "" {
			o.labels[name] = text
		}
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		// The flag set has printed what is wrong.
		return o, flag.ErrHelp
	}
	if flags.NArg() > 0 || o.output == "" || o.name == "" || o.program == "" || o.platform.Architecture == "" {
		return o, errors.New("--output, --name, --program and --platform are needed, and nothing else")
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return o, errors.New("SOURCE_DATE_EPOCH must be set, to seconds since 1970")
	}
	o.created = time.Unix(epoch, 0).UTC()
	return o, nil
}

func run(o options) error {
	image, err := build(o)
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	size, err := layerSize(image)
	if err != nil {
		return err
	}
	if o.largest > 0 && size > o.largest {
		return fmt.Errorf("%s has %d bytes as pulled, and %d are allowed", o.name, size, o.largest)
	}
	if err := replace(o.output, func(to *os.File) error { return writeArchive(to, image, o.name, o.created) }); err != nil {
		return err
	}
	fmt.Printf("%s %s@%s %.2f MB as pulled\n", o.output, o.name, digest, float64(size)/1e6)
	return nil
}

// build puts the image together in memory.
func build(o options) (v1.Image, error) {
	if err := expectStatic(o.program, o.platform.Architecture); err != nil {
		return nil, err
	}
	entry := "/" + filepath.Base(o.program)
	layer, err := newLayer(append([]file{{entry, o.program}}, o.files...), entry, o.created)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:     layer,
		MediaType: types.OCILayer,
		History:   v1.History{Created: v1.Time{Time: o.created}, CreatedBy: "make image"},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = o.platform.OS, o.platform.Architecture, o.platform.Variant
	config.Created = v1.Time{Time: o.created}
	config.Config = v1.Config{User: user, Entrypoint: []string{entry}, WorkingDir: "/", Labels: o.labels}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, o.labels).(v1.Image), nil
}

func layerSize(image v1.Image) (int64, error) {
	layers, err := image.Layers()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return 0, err
		}
		sum += size
	}
	return sum, nil
}

// replace writes beside the file and renames, so that nothing is ever half there under its final name.
func replace(name string, write func(*os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	to, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	err = errors.Join(write(to), to.Chmod(fs.FileMode(0o644)), to.Close())
	if err != nil {
		return err
	}
	return os.Rename(to.Name(), name)
}
