/* A plug-in of netconfd for esc.yang: `emit-esc-event` sends the notification `escEvent` with what its input has. */

#include <stdio.h>

#include "procdefs.h"
#include "agt.h"
#include "agt_not.h"
#include "agt_rpc.h"
#include "agt_util.h"
#include "ncx.h"
#include "ncxmod.h"
#include "obj.h"
#include "val.h"

#define TEXT(string) ((const xmlChar *)(string))

static ncx_module_t *module;
static obj_template_t *event;

static status_t emit_one(const val_value_t *input, const val_value_t *number_from, uint32 index)
{
    status_t status = NO_ERR;
    const val_value_t *child;
    agt_not_msg_t *message = agt_not_new_notification(event);
    if (message == NULL)
        return ERR_INTERNAL_MEM;
    if (number_from != NULL) {
        char number[16];
        val_value_t *text;
        obj_template_t *leaf = obj_find_child(event, TEXT("esc"), TEXT("status_message"));
        snprintf(number, sizeof number, "%u", VAL_UINT(number_from) + index);
        text = val_make_simval_obj(leaf, TEXT(number), &status);
        if (text == NULL) {
            agt_not_free_notification(message);
            return status;
        }
        agt_not_add_to_payload(message, text);
    }
    for (child = val_get_first_child(input); child != NULL; child = val_get_next_child(child)) {
        val_value_t *copy;
        if (xml_strcmp(child->name, TEXT("repeat")) == 0 || xml_strcmp(child->name, TEXT("number-from")) == 0)
            continue;
        copy = val_clone(child);
        if (copy == NULL) {
            agt_not_free_notification(message);
            return ERR_INTERNAL_MEM;
        }
        agt_not_add_to_payload(message, copy);
    }
    agt_not_queue_notification(message);
    return NO_ERR;
}

static status_t emit(ses_cb_t *session, rpc_msg_t *message, xml_node_t *node)
{
    const val_value_t *repeat = val_find_child(message->rpc_input, TEXT("esc"), TEXT("repeat"));
    const val_value_t *number_from = val_find_child(message->rpc_input, TEXT("esc"), TEXT("number-from"));
    uint32 times = repeat == NULL ? 1 : VAL_UINT(repeat);
    status_t status = NO_ERR;
    (void)session;
    (void)node;
    for (uint32 index = 0; index < times && status == NO_ERR; index++)
        status = emit_one(message->rpc_input, number_from, index);
    return status;
}

status_t y_esc_init(const xmlChar *name, const xmlChar *revision)
{
    status_t status;
    (void)name;
    (void)revision;
    status = ncxmod_load_module(TEXT("esc"), NULL, &agt_get_profile()->agt_savedevQ, &module);
    if (status != NO_ERR)
        return status;
    event = ncx_find_object(module, TEXT("escEvent"));
    if (event == NULL)
        return ERR_NCX_DEF_NOT_FOUND;
    return agt_rpc_register_method(TEXT("esc"), TEXT("emit-esc-event"), AGT_RPC_PH_INVOKE, emit);
}

status_t y_esc_init2(void)
{
    return NO_ERR;
}

void y_esc_cleanup(void)
{
    agt_rpc_unregister_method(TEXT("esc"), TEXT("emit-esc-event"));
}
