// The day of a Cluster API provider with one node, by gophercloud itself (Debian's golang-github-gophercloud-gophercloud-dev):
// what it sends, and what it makes of the answers. Arguments: the URL of the API and the name of a node that is on.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/openstack/baremetal/v1/nodes"
)

var client *gophercloud.ServiceClient

func must(what string, err error) {
	if err != nil {
		fmt.Printf("gophercloud: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func get(node string) *nodes.Node {
	found, err := nodes.Get(client, node).Extract()
	must("get", err)
	return found
}

// settled waits until there is no target any more, as its users do.
func settled(node string) string {
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if found := get(node); found.TargetPowerState == "" {
			return found.PowerState
		}
	}
	return "never settled"
}

func power(node string, target nodes.TargetPowerState, timeout int) error {
	return nodes.ChangePowerState(client, node, nodes.PowerStateOpts{Target: target, Timeout: timeout}).ExtractErr()
}

func expect(node string, target nodes.TargetPowerState, timeout int, state string) {
	must(string(target), power(node, target, timeout))
	if found := settled(node); found != state {
		must(string(target), fmt.Errorf("it is %q, not %q", found, state))
	}
	fmt.Printf("gophercloud: %s\n", target)
}

func main() {
	var err error
	client, err = noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: os.Args[1] + "/v1"})
	must("client", err)
	client.Microversion = "1.31"
	name := os.Args[2]
	pages, err := nodes.ListDetail(client, nodes.ListOpts{}).AllPages()
	must("list", err)
	all, err := nodes.ExtractNodes(pages)
	must("list", err)
	uuid := ""
	for _, node := range all {
		if node.Name == name {
			uuid = node.UUID
		}
	}
	if get(name).UUID != uuid {
		must("get", fmt.Errorf("%s is not %s", name, uuid))
	}
	expect(uuid, nodes.SoftPowerOff, 60, "power off")
	expect(uuid, nodes.PowerOn, 0, "power on")
	expect(uuid, nodes.SoftRebooting, 60, "power on")
	expect(uuid, nodes.Rebooting, 0, "power on")
	must("inject nmi", nodes.InjectNMI(client, uuid).ExtractErr())
	settled(uuid)
	boot := nodes.BootDeviceOpts{BootDevice: "pxe", Persistent: false}
	// ipmi_sim takes it and forgets it, and is told on for that.
	if err := nodes.SetBootDevice(client, uuid, boot).ExtractErr(); err != nil && !strings.Contains(err.Error(), "shows no override") {
		must("set boot device", err)
	}
	device, err := nodes.GetBootDevice(client, uuid).Extract()
	must("boot device", err)
	supported, err := nodes.GetSupportedBootDevices(client, uuid).Extract()
	must("boot devices", err)
	valid, err := nodes.Validate(client, uuid).Extract()
	must("validate", err)
	fmt.Printf("gophercloud: boots from %s of %v, power is valid: %v\n", device.BootDevice, supported, valid.Power.Result)
	// A second change while the first one is under way is a conflict, and the abort targets are words like the others.
	must("soft power off", power(uuid, nodes.SoftPowerOff, 600))
	err = power(uuid, nodes.PowerOff, 0)
	if _, conflict := err.(gophercloud.ErrDefault409); !conflict {
		must("a busy node", fmt.Errorf("no conflict: %v", err))
	}
	must("abort", power(uuid, "abort soft power off", 0))
	if state := get(uuid).PowerState; state != "error" {
		must("abort", fmt.Errorf("it shows %q", state))
	}
	expect(uuid, nodes.PowerOff, 0, "power off")
	expect(uuid, nodes.PowerOn, 0, "power on")
	fmt.Println("gophercloud: done")
}
