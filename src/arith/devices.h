/* devices.h - the table of devices. */
#ifndef ARITH_DEVICES_H
#define ARITH_DEVICES_H

#include "gka/arith.h"

/* Every preset, ended by NULL. */
extern const gka_device *const gka_device_table[];

#endif
